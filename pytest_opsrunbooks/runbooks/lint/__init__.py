"""The linter: finds what has rotted in pages, scripts, rule files and compose files.

documents ► fragments ► shell       what is read, as values with the lines of the file
world                               what is known of the systems: given by the caller, never guessed
registry ► rules_*                  one function a rule
engine ► output_*                   runs the rules, applies the waivers, writes the findings
"""
