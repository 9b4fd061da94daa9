"""Content identifiers (CIDs) of IPFS: reading them, writing them, and checking blocks against them.

Written here rather than taken from the `multiformats` package, which needs 0.06 s to be imported (its tables
of every code), 0.1 ms for each CID and three further packages, while what is needed of it is a varint, five
alphabets and the names of the hash functions that `hashlib` has. The tests compare the two, and both with the
JavaScript reference implementation.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Callable

BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

CODECS = {
    "raw": 0x55,
    "dag-pb": 0x70,
    "dag-cbor": 0x71,
    "libp2p-key": 0x72,
    "dag-json": 0x0129,
    "json": 0x0200,
}
CODEC_NAMES = {code: name for name, code in CODECS.items()}

HASHES: dict[int, tuple[str, Callable[[bytes], bytes]]] = {
    0x00: ("identity", lambda data: data),
    0x12: ("sha2-256", lambda data: hashlib.sha256(data).digest()),
    0x13: ("sha2-512", lambda data: hashlib.sha512(data).digest()),
    0x14: ("sha3-512", lambda data: hashlib.sha3_512(data).digest()),
    0x16: ("sha3-256", lambda data: hashlib.sha3_256(data).digest()),
    0xB220: ("blake2b-256", lambda data: hashlib.blake2b(data, digest_size=32).digest()),
}
HASH_CODES = {name: code for code, (name, _) in HASHES.items()}

MAX_TEXT = 512
"""Longer is no CID that anybody uses, and base58 takes quadratic time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cid:
    """A parsed CID. `str()` is its usual text: base58 for version 0, base32 for version 1."""

    version: int
    codec: str
    """`raw`, `dag-pb`…; a code in hexadecimal (`0x1234`) where it has no name here."""
    hash_name: str
    """`sha2-256`…; a code in hexadecimal where the function is not known here."""
    digest: bytes

    @property
    def multihash(self) -> bytes:
        return write_varint(_code(self.hash_name, HASH_CODES)) + write_varint(len(self.digest)) + self.digest

    @property
    def binary(self) -> bytes:
        """As links inside blocks hold it."""
        if self.version == 0:
            return self.multihash
        return b"\x01" + write_varint(_code(self.codec, CODECS)) + self.multihash

    def __str__(self) -> str:
        if self.version == 0:
            return _encode_digits(self.binary, BASE58)
        return "b" + base64.b32encode(self.binary).decode().rstrip("=").lower()


def parse(text: str) -> Cid:
    """Reads a CID of version 0 (`Qm…`) or 1 (base32, base58, base36, base16 or base64url). Raises ValueError,
    naming the fault."""
    if not text:
        raise ValueError("not a CID: it is empty")
    shown = repr(text if len(text) <= 80 else text[:79] + "…")
    if len(text) > MAX_TEXT:
        raise ValueError(f"not a CID: {shown} has {len(text)} characters")
    try:
        if len(text) == 46 and text.startswith("Qm"):
            return decode(_decode_digits(text, BASE58))
        found = decode(_decode_text(text))
    except ValueError as exc:
        raise ValueError(f"not a CID: {shown}: {exc}") from exc
    if found.version == 0:
        raise ValueError(f"not a CID: {shown}: version 0 has no prefix")
    return found


def decode(data: bytes) -> Cid:
    """Reads a CID's bytes. Raises ValueError."""
    if len(data) == 34 and data.startswith(b"\x12\x20"):
        return Cid(version=0, codec="dag-pb", hash_name="sha2-256", digest=data[2:])
    version, at = read_varint(data, 0)
    if version != 1:
        raise ValueError(f"version {version} is not known")
    codec, at = read_varint(data, at)
    function, at = read_varint(data, at)
    length, at = read_varint(data, at)
    digest = data[at:]
    if len(digest) != length:
        raise ValueError(f"its digest has {len(digest)} bytes, not {length}")
    name = HASHES[function][0] if function in HASHES else hex(function)
    full = {"sha2-256": 32, "sha2-512": 64, "sha3-256": 32, "sha3-512": 64, "blake2b-256": 32}
    if name in full and length != full[name]:
        raise ValueError(f"a digest of {name} has {full[name]} bytes, not {length}")
    return Cid(version=1, codec=CODEC_NAMES.get(codec, hex(codec)), hash_name=name, digest=digest)


def verify(cid: Cid | str, block: bytes) -> bool:
    """Whether `block` is what `cid` stands for. Raises ValueError where its hash function is not known
    here."""
    found = parse(cid) if isinstance(cid, str) else cid
    code = HASH_CODES.get(found.hash_name)
    if code is None:
        raise ValueError(f"the hash function {found.hash_name} of {found} is not known")
    return HASHES[code][1](block) == found.digest


def cid_of(block: bytes, codec: str = "raw", version: int = 1) -> str:
    """The CID of a block by sha2-256. Version 0 can only be `dag-pb`; ValueError otherwise."""
    if codec not in CODECS:
        raise ValueError(f"the codec {codec!r} is not known; known are {', '.join(CODECS)}")
    if version not in (0, 1) or (version == 0 and codec != "dag-pb"):
        raise ValueError(f"there is no CID of version {version} for {codec}")
    return str(Cid(version=version, codec=codec, hash_name="sha2-256", digest=hashlib.sha256(block).digest()))


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned varint at `at` and where it ends. Raises ValueError where it is cut off or too long."""
    value = 0
    for index in range(10):
        if at + index >= len(data):
            raise ValueError("it ends in the middle of a number")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("it holds a number that is too long")


def write_varint(value: int) -> bytes:
    """The shortest unsigned varint."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _code(name: str, codes: dict[str, int]) -> int:
    return codes[name] if name in codes else int(name, 16)


def _decode_text(text: str) -> bytes:
    prefix, rest = text[0], text[1:]
    if prefix in "bB":
        if rest != (rest.lower() if prefix == "b" else rest.upper()):
            raise ValueError(f"after the prefix {prefix} some letters are in the wrong case")
        return _base32(rest.upper())
    if prefix == "z":
        return _decode_digits(rest, BASE58)
    if prefix in "kK":
        return _decode_digits(rest.lower(), BASE36)
    if prefix in "fF":
        return bytes.fromhex(rest)
    if prefix == "u":
        return base64.b64decode(rest + "=" * (-len(rest) % 4), altchars=b"-_", validate=True)
    raise ValueError(f"the prefix {prefix!r} stands for no encoding that is known here")


def _base32(rest: str) -> bytes:
    if len(rest) % 8 in (1, 3, 6):
        raise ValueError("it ends in the middle of a byte")
    data = base64.b32decode(rest + "=" * (-len(rest) % 8))
    if base64.b32encode(data).decode().rstrip("=") != rest:
        raise ValueError("its last character is not canonical")
    return data


def _decode_digits(text: str, alphabet: str) -> bytes:
    value = 0
    for character in text:
        digit = alphabet.find(character)
        if digit < 0:
            raise ValueError(f"{character!r} is not a digit of base{len(alphabet)}")
        value = value * len(alphabet) + digit
    zeros = len(text) - len(text.lstrip(alphabet[0]))
    return bytes(zeros) + value.to_bytes((value.bit_length() + 7) // 8, "big")


def _encode_digits(data: bytes, alphabet: str) -> str:
    value = int.from_bytes(data, "big")
    out = ""
    while value:
        value, digit = divmod(value, len(alphabet))
        out = alphabet[digit] + out
    return alphabet[0] * (len(data) - len(data.lstrip(b"\0"))) + out
