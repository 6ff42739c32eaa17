// Google's client for Node (google-auth-library) against the local metadata server.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { GoogleAuth, OAuth2Client, gcpMetadata } from 'google-auth-library';

const emulator = process.env.EMULATOR;
assert.ok(emulator, 'no emulator to test against; start the tests with tests/clients/run');

const identity = '/computeMetadata/v1/instance/service-accounts/default/identity';
const profiles = 'https://profiles.example.com';

// The calling side, with whatever credentials it finds: those of the machine.
const auth = new GoogleAuth();

// The receiving side, as it would be with Google's certificates.
const receiver = new OAuth2Client({
  endpoints: { oauth2FederatedSignonPemCertsUrl: `${emulator}/oauth2/v1/certs` },
});

async function fault(fields) {
  const response = await fetch(`${emulator}/_emulator/faults`, {
    method: 'POST',
    body: JSON.stringify(fields),
  });
  assert.equal(response.status, 201, await response.text());
}

async function fetchIdToken(audience) {
  const client = await auth.getIdTokenClient(audience);
  return client.idTokenProvider.fetchIdToken(audience);
}

async function verified(idToken, audience) {
  const ticket = await receiver.verifyIdToken({ idToken, audience });
  return ticket.getPayload();
}

// What a token says, whoever signed it.
function claims(idToken) {
  return JSON.parse(Buffer.from(idToken.split('.')[1], 'base64url').toString());
}

afterEach(async () => {
  await fetch(`${emulator}/_emulator/faults`, { method: 'DELETE' });
});

test('a fetched ID token is verified with the published certificates', async () => {
  const payload = await verified(await fetchIdToken(profiles), profiles);
  assert.equal(payload.iss, 'https://accounts.google.com');
  assert.equal(payload.email, 'login@shop-42.iam.gserviceaccount.com');
  assert.equal(payload.email_verified, true);
  assert.equal(payload.exp - payload.iat, 3600);
});

test('the signature fits the published JWKS', async () => {
  const token = await fetchIdToken(profiles);
  const [header, body, signature] = token.split('.');
  const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString());
  const { keys } = await (await fetch(`${emulator}/oauth2/v3/certs`)).json();
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const jwk = keys.find((candidate) => candidate.kid === kid);
  const key = await crypto.subtle.importKey('jwk', jwk, algorithm, false, ['verify']);
  const verify = (text) =>
    crypto.subtle.verify(algorithm, key, Buffer.from(signature, 'base64url'), Buffer.from(text));
  assert.equal(await verify(`${header}.${body}`), true);
  assert.equal(await verify(`${header}.${body}x`), false);
});

test('request headers carry the token', async () => {
  const client = await auth.getIdTokenClient(profiles);
  const headers = await client.getRequestHeaders();
  const [scheme, token] = headers.get('authorization').split(' ');
  assert.equal(scheme, 'Bearer');
  assert.equal((await verified(token, profiles)).aud, profiles);
});

test('an audience that the caller encodes survives byte for byte', async () => {
  const audience = `${profiles}/?a=1&b=2#c+d%20e`;
  const token = await fetchIdToken(encodeURIComponent(audience));
  assert.equal((await verified(token, audience)).aud, audience);
});

test('an audience that nobody encodes is cut, as this client has it on Google Cloud', async () => {
  assert.equal(claims(await fetchIdToken(`${profiles}/?a=1&b=2`)).aud, `${profiles}/?a=1`);
});

test('the default credentials are those of the machine', async () => {
  assert.match(await auth.getAccessToken(), /^ya29\./);
  assert.equal(await auth.getProjectId(), 'shop-42');
  assert.equal(await auth.getUniverseDomain(), 'googleapis.com');
  const { client_email: email } = await auth.getCredentials();
  assert.equal(email, 'login@shop-42.iam.gserviceaccount.com');
});

test('the server is found by a client that looks for it', async () => {
  const { METADATA_SERVER_DETECTION: detection } = process.env;
  delete process.env.METADATA_SERVER_DETECTION;
  gcpMetadata.resetIsAvailableCache();
  try {
    assert.equal(await gcpMetadata.isAvailable(), true);
  } finally {
    process.env.METADATA_SERVER_DETECTION = detection;
  }
  assert.equal(await gcpMetadata.instance(), 'service-accounts/\n');
});

test('a token for somebody else or one that is over is refused', async () => {
  await assert.rejects(verified(await fetchIdToken(profiles), 'https://other.example'), /recipient/);
  // Beyond the five minutes by which this client lets clocks differ.
  await fault({ path: identity, token: { lifetime: '-10m' } });
  await assert.rejects(verified(await fetchIdToken(profiles), profiles), /too late/);
});

test('trouble that passes is ridden out by the client', async () => {
  await fault({ path: identity, status: 503, times: 1 });
  assert.equal((await verified(await fetchIdToken(profiles), profiles)).aud, profiles);
});

test('a machine without the account is an error', async () => {
  await fault({ path: identity, status: 404 });
  await assert.rejects(fetchIdToken(profiles), { status: 404 });
});

test('an answer without Metadata-Flavor is not taken for a metadata server', async () => {
  await fault({ path: identity, headers: { 'Metadata-Flavor': null } });
  await assert.rejects(fetchIdToken(profiles), /incorrect Metadata-Flavor/);
});
