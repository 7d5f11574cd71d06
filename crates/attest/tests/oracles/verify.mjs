// Sigstore's own library on a bundle: reads { bundle, key, artifact } from standard input, and
// ends with 0 where it accepts the bundle by the key.
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { bundleFromJSON } from '@sigstore/bundle';
import { Verifier, toSignedEntity, toTrustMaterial } from '@sigstore/verify';

const given = JSON.parse(readFileSync(0, 'utf8'));
const bundle = bundleFromJSON(given.bundle);
const trust = toTrustMaterial(
  { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [], mediaType: '' },
  () => ({ publicKey: createPublicKey(given.key), validFor: () => true }),
);
const verifier = new Verifier(trust, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
verifier.verify(toSignedEntity(bundle));
console.log(JSON.stringify(JSON.parse(bundle.content.dsseEnvelope.payload.toString()).subject));
