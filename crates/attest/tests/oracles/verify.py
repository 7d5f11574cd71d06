"""securesystemslib on an envelope: reads {envelope, key} from standard input, and ends with 0
where it accepts the envelope by the key."""

import json
import sys

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

given = json.load(sys.stdin)
keyid = given["envelope"]["signatures"][0]["keyid"]
envelope = Envelope.from_dict(given["envelope"])
key = SSlibKey.from_crypto(load_pem_public_key(given["key"].encode()), keyid=keyid)
accepted = envelope.verify([key], 1)
assert list(accepted) == [keyid], accepted
print(json.loads(envelope.payload)["_type"])
