"""The seal: whatever is not, to the bit, what was sealed for this user is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import pickle
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from support import ACCOUNT, KEY, OTHER_KEY, USER, Phone, World

from twofa import Change, KeyRing, Stored, Vouched
from twofa.errors import RecordDamaged, RecordError, StoreContention, UnknownKey, UnsupportedRecord
from twofa.stores import MemoryStore, SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DOCUMENT = b'{"schema":1}'
RAW = base64.urlsafe_b64decode(KEY + "=")
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _sealed(user_id: str = USER, namespace: str = "", document: bytes = DOCUMENT) -> str:
    return KeyRing(KEY).for_user(user_id, namespace).close(document)


def _open(sealed: str, user_id: str = USER, namespace: str = "", *keys: str) -> bytes:
    return KeyRing(*(keys or (KEY,))).for_user(user_id, namespace).open(sealed)


# --- sealing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [b"", b"x", DOCUMENT, bytes(range(256)) * 40])
def test_what_was_sealed_opens(document: bytes) -> None:
    """A document of any length comes back byte for byte."""
    assert document == _open(_sealed(document=document))


def test_a_seal_is_what_the_design_says() -> None:
    """AES-256-GCM over an HKDF-Expand subkey that is computed here by hand, bound to format, namespace and user."""
    context = b"twofa1\0tenant-7\0user-42"
    subkey = hmac.digest(RAW, context + b"\x01", "sha256")
    mark, key_id, text = _sealed("user-42", "tenant-7").split(".")
    box = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    assert "twofa1" == mark
    assert (key_id,) == KeyRing(KEY).key_ids
    assert 12 + len(DOCUMENT) + 16 == len(box)
    assert DOCUMENT == AESGCM(subkey).decrypt(box[:12], box[12:], context)


def test_what_others_sealed_by_the_design_opens() -> None:
    """A record that this test makes by hand, as the format is documented, is opened."""
    context = "twofa1\0\0žofie".encode()
    nonce = bytes(range(12))
    box = nonce + AESGCM(hmac.digest(RAW, context + b"\x01", "sha256")).encrypt(nonce, DOCUMENT, context)
    sealed = f"twofa1.{KeyRing(KEY).key_ids[0]}.{base64.urlsafe_b64encode(box).decode().rstrip('=')}"

    assert DOCUMENT == _open(sealed, "žofie")


def test_no_two_seals_are_alike() -> None:
    """Each seal has a nonce of its own, so that the same document never looks the same."""
    seal = KeyRing(KEY).for_user(USER)

    assert 100 == len({seal.close(DOCUMENT)[16:32] for _ in range(100)})


@pytest.mark.parametrize("user_id", ["user-4", "user-421", "User-42", "user-42 ", "user-43", ""])
def test_a_record_of_another_user_is_refused(user_id: str) -> None:
    """P8: a record that is copied to another user does not open, however alike the two ids are."""
    with pytest.raises(RecordDamaged):
        _open(_sealed(), user_id)


class Redacted(str):
    """A user id of a framework that keeps ids out of its logs."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return "[redacted]"

    __str__ = __repr__ = lambda _self: "[redacted]"


def test_two_users_who_are_written_alike_have_two_seals() -> None:
    """P8: the seal is bound to the characters of a user id, not to what a subclass of `str` shows."""
    sealed = _sealed(Redacted("alice"), Redacted("tenant"))

    assert DOCUMENT == _open(sealed, "alice", "tenant")
    for user_id, namespace in (("bob", "tenant"), ("alice", "other")):
        with pytest.raises(RecordDamaged):
            _open(sealed, Redacted(user_id), Redacted(namespace))


@pytest.mark.parametrize("namespace", ["tenant-8", "tenant-7 ", "Tenant-7", ""])
def test_a_record_of_another_namespace_is_refused(namespace: str) -> None:
    """P8: a record that is copied to another application or tenant with the same keys and user ids does not open."""
    with pytest.raises(RecordDamaged):
        _open(_sealed(namespace="tenant-7"), namespace=namespace)


def test_where_a_namespace_ends_is_never_in_doubt() -> None:
    """Two pairs of namespace and user id that read the same when joined are different users."""
    pairs = [("b c", "a"), ("c", "ab"), ("c", "a b"), ("abc", ""), ("", "abc"), ("bc", "a"), (" b c", "a"), ("a", "bc")]
    for place, (user_id, namespace) in enumerate(pairs):
        sealed = _sealed(user_id, namespace)
        for other, pair in enumerate(pairs):
            if place != other:
                with pytest.raises(RecordDamaged):
                    _open(sealed, *pair)


# --- damage --------------------------------------------------------------------------------------------------------


def _refused(sealed: str) -> RecordError:
    with pytest.raises(RecordError) as refusal:
        _open(sealed)
    assert refusal.value.__context__ is None
    return refusal.value


def test_every_flipped_bit_is_refused() -> None:
    """P8: a record with any single bit flipped, in mark, key id, nonce, content or tag, is refused."""
    sealed = _sealed().encode()
    for place in range(len(sealed)):
        for bit in range(8):
            flipped = bytearray(sealed)
            flipped[place] ^= 1 << bit
            _refused(flipped.decode("latin-1"))


def test_every_truncation_is_refused() -> None:
    """P8: cut short at either end by any number of characters, a record does not open."""
    sealed = _sealed()
    for cut in range(1, len(sealed) + 1):
        assert isinstance(_refused(sealed[:-cut]), RecordDamaged)
        _refused(sealed[cut:])


def test_every_replaced_character_is_refused() -> None:
    """P8: a record with any one character replaced, by any symbol of base64url or a separator, is refused."""
    sealed = _sealed()
    for place, symbol in enumerate(sealed):
        for other in BASE64URL + ".=+/ ~":
            if other != symbol:
                _refused(sealed[:place] + other + sealed[place + 1 :])


def test_every_character_put_in_or_left_out_is_refused() -> None:
    """P8: a record that is one character longer or shorter, anywhere, does not open."""
    sealed = _sealed()
    for place in range(len(sealed) + 1):
        for extra in "A=.\n \0é":
            _refused(sealed[:place] + extra + sealed[place:])
        if place < len(sealed):
            _refused(sealed[:place] + sealed[place + 1 :])


@pytest.mark.parametrize("length", range(48, 51))
@pytest.mark.parametrize(
    "respell",
    [
        lambda text: text + "=",
        lambda text: text + "=" * (-len(text) % 4 or 4),
        lambda text: text + "\n",
        lambda text: "\n" + text,
        lambda text: text[:40] + "\r\n" + text[40:],
        lambda text: text + " ",
        lambda text: text.replace("-", "+").replace("_", "/"),
        lambda text: text + "!",
        lambda text: text + "A",
        lambda text: text + ".",
        lambda text: text + ".A",
        lambda text: text[:-1] + BASE64URL[BASE64URL.index(text[-1]) ^ 1],
        lambda text: text[:-1] + BASE64URL[BASE64URL.index(text[-1]) ^ 3],
    ],
)
def test_another_spelling_is_refused(respell: Callable[[str], str], length: int) -> None:
    """The same bytes have one spelling: padding, line breaks, the standard alphabet and stray bits are refused."""
    mark, key_id, text = _sealed(document=b"x" * length).split(".")
    while not set("-_") <= set(text):
        mark, key_id, text = _sealed(document=b"x" * length).split(".")

    assert isinstance(_refused(f"{mark}.{key_id}.{respell(text)}"), RecordDamaged)


@pytest.mark.parametrize("mark", ["twofa2", "twofa3", "twofa10", "twofa9999"])
def test_a_newer_format_is_refused_by_its_name(mark: str) -> None:
    """A record in a later format says so, whatever follows its mark."""
    for rest in (_sealed()[6:], "", ".", ".a.b.c"):
        refusal = _refused(mark + rest)
        assert isinstance(refusal, UnsupportedRecord)
        assert f"the format {mark}: upgrade this instance of twofa" in str(refusal)


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        ".",
        "..",
        "...",
        "twofa1",
        "twofa1..",
        "twofa0.a.b",
        "twofa01.a.b",
        "twofa12345.a.b",
        "TWOFA1.a.b",
        "{}",
        "null",
    ],
)
def test_what_was_never_a_record_is_damaged(sealed: str) -> None:
    """P3: anything that was never a record is damaged, and never reads as "no second factor here"."""
    assert isinstance(_refused(sealed), RecordDamaged)


def test_a_record_that_is_only_nonce_and_tag_is_not_sealed_by_anyone() -> None:
    """A record shorter than a nonce and a tag is damaged before any cipher sees it; at that length the tag decides."""
    mark, key_id, _ = _sealed().split(".")
    for length in (0, 1, 11, 12, 27, 28):
        text = base64.urlsafe_b64encode(bytes(length)).decode().rstrip("=")
        assert isinstance(_refused(f"{mark}.{key_id}.{text}"), RecordDamaged)


def test_a_key_that_is_not_in_the_ring_is_named() -> None:
    """A record under another key is refused with that key's public id; what is no id at all is damaged."""
    sealed = KeyRing(OTHER_KEY).for_user(USER).close(DOCUMENT)
    refusal = _refused(sealed)

    assert isinstance(refusal, UnknownKey)
    assert KeyRing(OTHER_KEY).key_ids == (refusal.key_id,)
    mark, key_id, text = sealed.split(".")
    for wrong in ("", key_id[:-1], key_id + "A", key_id[:-1] + "+", key_id[:-1] + "é"):
        assert isinstance(_refused(f"{mark}.{wrong}.{text}"), RecordDamaged)


# --- rotation ------------------------------------------------------------------------------------------------------


def test_the_first_key_seals_and_all_keys_open() -> None:
    """While both keys are in the ring, records of both open, and new ones are under the first."""
    ring, old = KeyRing(OTHER_KEY, KEY), _sealed()
    seal = ring.for_user(USER)
    new = seal.close(DOCUMENT)

    assert DOCUMENT == seal.open(old) == seal.open(new) == _open(new, USER, "", OTHER_KEY)
    assert not ring.is_current(old)
    assert ring.is_current(new)
    assert new.split(".")[1] == ring.key_ids[0]


def test_a_rotation_from_end_to_end() -> None:
    """The new key comes first as an older one, then as the primary, then alone: the user is never locked out."""
    world = World("blocking")
    phone, codes = world.enrol()
    ahead = world.new_face(keys=KeyRing(KEY, OTHER_KEY))
    rotated = world.new_face(keys=KeyRing(OTHER_KEY, KEY))
    done = world.new_face(keys=KeyRing(OTHER_KEY))
    assert ahead.reseal(USER) is False
    with pytest.raises(UnknownKey):
        done.status(USER)
    with pytest.raises(UnknownKey):
        done.reseal(USER)
    before, events = rotated.status(USER), len(world.events)

    assert rotated.reseal(USER) is True
    assert rotated.reseal(USER) is False
    assert before == rotated.status(USER) == ahead.status(USER) == done.status(USER)
    assert events == len(world.events)
    with pytest.raises(UnknownKey):
        world.face.status(USER)
    assert "totp" == done.verify(USER, phone.code()).method
    assert 9 == done.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining


def test_any_write_reseals() -> None:
    """A login under the new ring puts the record under its primary key."""
    world = World("blocking")
    phone, _ = world.enrol()
    rotated = world.new_face(keys=KeyRing(OTHER_KEY, KEY))
    rotated.verify(USER, phone.code())

    assert rotated.reseal(USER) is False


def test_nobody_is_resealed_who_has_no_record() -> None:
    """An unknown user has nothing to reseal, and no record is made."""
    world = World("blocking")

    assert world.face.reseal("nobody") is False
    assert world.record("nobody") is None


class Contested(MemoryStore):
    """A store on which somebody else is always faster, for the first few swaps."""

    losses = 0

    def swap(self, user_id: str, change: Change) -> bool:
        if self.losses:
            self.losses -= 1
            return False
        return super().swap(user_id, change)


@pytest.mark.parametrize("losses", [1, 99])
def test_resealing_tries_again(losses: int) -> None:
    """A reseal that loses to other writers is repeated until it wins."""
    store = Contested()
    world = World("blocking", store=store)
    world.enrol()
    store.losses = losses

    assert world.new_face(keys=KeyRing(OTHER_KEY, KEY)).reseal(USER) is True


def test_resealing_gives_up_in_the_end() -> None:
    """When it loses a hundred times over, a reseal fails, and the record is as it was."""
    store = Contested()
    world = World("blocking", store=store)
    world.enrol()
    before, store.losses = world.record(), 10**6

    with pytest.raises(StoreContention):
        world.new_face(keys=KeyRing(OTHER_KEY, KEY)).reseal(USER)
    assert before == world.record()


def _stored(world: World, user_id: str = USER) -> Stored:
    stored = world.record(user_id)
    assert stored is not None
    return stored


# --- through the face ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage", ["copied", "cut short", "flipped", "unknown key", "newer", "older", "no record at all"]
)
def test_a_record_that_cannot_be_trusted_never_reads_as_none(damage: str) -> None:
    """P3, P8: every method refuses it, even those that need no code, and none of them writes."""
    world = World("blocking")
    world.enrol()
    world.enrol("another")
    intact = _stored(world)
    sealed = {
        "copied": _stored(world, "another").document,
        "cut short": intact.document[:-4],
        "flipped": intact.document[:-1] + ("A" if intact.document[-1] != "A" else "Q"),
        "unknown key": KeyRing(OTHER_KEY).for_user(USER).close(DOCUMENT),
        "newer": _sealed(document=b'{"schema":2}'),
        "older": _sealed(document=b'{"schema":0}'),
        "no record at all": "",
    }[damage]
    world.store.swap(USER, Change(intact.version, Stored("f" * 32, sealed)))
    before, carol = world.record(), Vouched(by="carol", reason="asked")
    calls: list[Callable[[], object]] = [
        lambda: world.face.status(USER),
        lambda: world.face.reseal(USER),
        lambda: world.face.verify(USER, "123456"),
        lambda: world.face.redeem_recovery_code(USER, "0" * 24),
        lambda: world.face.begin_setup(USER, account_name=ACCOUNT),
        lambda: world.face.begin_setup(USER, account_name=ACCOUNT, proof=carol),
        lambda: world.face.confirm_setup(USER, "123456", handle="x"),
        lambda: world.face.cancel_setup(USER),
        lambda: world.face.reset_recovery_codes(USER, proof=carol),
        lambda: world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=carol),
        lambda: world.face.disable(USER, proof=carol),
        lambda: world.face.forget(USER, proof=carol),
    ]
    for call in calls:
        with pytest.raises(RecordError):
            call()

    assert before == world.record()


def test_namespaces_are_worlds_apart() -> None:
    """Two tenants that share store and keys never read each other's records."""
    world = World("blocking")
    tenant = world.new_face(namespace="tenant-7")
    tenant.begin_setup(USER, account_name=ACCOUNT)

    with pytest.raises(RecordDamaged):
        world.face.status(USER)


def test_nothing_secret_is_in_the_database_file(tmp_path: Path) -> None:
    """P8: neither secrets nor codes, in any spelling, nor hashes of codes, nor handle or token are in the raw file."""
    store = SQLiteStore(tmp_path / "app.db")
    world = World("blocking", store=store)
    setup = world.begin()
    phone, codes = world.confirm(setup)
    token = world.login(phone).token
    pending = world.begin(proof=Vouched(by="carol", reason="asked"))
    world.face.redeem_recovery_code(USER, codes[0])
    secrets: list[str | bytes] = [
        setup.handle,
        pending.handle,
        token,
        setup.uri,
        pending.uri,
        phone.code(),
        Phone(pending.uri, world.clock).code(),
    ]
    kept = KeyRing(KEY).for_user(USER).open(_stored(world).document)
    for grouped in (setup.manual_key, pending.manual_key):
        secret = base64.b32decode(grouped.replace(" ", ""))
        assert base64.b64encode(secret) in kept
        secrets += [grouped, grouped.replace(" ", ""), secret, secret.hex(), base64.b64encode(secret)]
    for code in codes:
        secrets += [code, code.replace("-", ""), code[2:]]
    hashes = max(kept.split(b'"'), key=len)
    packed = base64.b64decode(hashes)
    assert packed[16:48] == hashlib.sha256(packed[:16] + codes[0].replace("-", "").encode()).digest()
    secrets += [hashes, packed[:16], packed[16:48], packed[-32:]]

    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert b"twofa1." in raw
    for needle in (part if isinstance(part, bytes) else part.encode() for part in secrets):
        assert needle not in raw, f"{len(needle)} bytes of a secret are in the file"


def test_a_seal_is_not_pickled() -> None:
    """P11: it carries keys, which must not reach a cache or another process by accident."""
    with pytest.raises(TypeError, match="carries keys and cannot be pickled"):
        pickle.dumps(KeyRing(KEY).for_user(USER))
