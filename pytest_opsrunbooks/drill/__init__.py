"""Labs, faults and drills: what breaks a miniature of a system to prove that its checks and runbooks
answer.
"""
