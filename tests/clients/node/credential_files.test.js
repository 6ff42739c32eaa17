// Google's client for Node (google-auth-library) with the credential files that the emulator writes.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';

import { ExternalAccountClient, GoogleAuth, Impersonated, JWT, OAuth2Client } from 'google-auth-library';

const { EMULATOR: emulator, EMULATOR_CREDENTIALS: files } = process.env;
assert.ok(emulator && files, 'no emulator to test against; start the tests with tests/clients/run');

const login = 'login@shop-42.iam.gserviceaccount.com';
const search = 'search@shop-42.iam.gserviceaccount.com';
const profiles = 'https://profiles.example.com';
const scope = 'https://www.googleapis.com/auth/cloud-platform';

const receiver = new OAuth2Client({
  endpoints: { oauth2FederatedSignonPemCertsUrl: `${emulator}/oauth2/v1/certs` },
});

async function credential(name) {
  return JSON.parse(await readFile(join(files, name), 'utf8'));
}

async function verified(idToken) {
  const ticket = await receiver.verifyIdToken({ idToken, audience: profiles });
  return ticket.getPayload();
}

async function control(method, path, fields) {
  const response = await fetch(`${emulator}/_emulator/${path}`, {
    method,
    body: fields && JSON.stringify(fields),
  });
  assert.ok(response.ok, await response.text());
}

async function calls(endpoint) {
  return (await fetch(`${emulator}/_emulator/requests?endpoint=${endpoint}`)).json();
}

// This client has no setting for the token endpoint's address.
function redirected(client) {
  client.transporter.interceptors.request.add({
    resolved: async (options) => {
      if (String(options.url) === 'https://oauth2.googleapis.com/token') {
        options.url = new URL('/token', emulator);
      }
      return options;
    },
  });
  return client;
}

async function withKey() {
  const { client_email: email, private_key: key } = await credential('key.json');
  return redirected(new JWT({ email, key }));
}

function impersonating(sourceClient, options = {}) {
  return new Impersonated({
    sourceClient,
    targetPrincipal: search,
    targetScopes: [scope],
    endpoint: emulator,
    ...options,
  });
}

afterEach(async () => {
  await control('DELETE', 'faults');
  await control('DELETE', 'clock');
});

test('a key becomes an ID token', async () => {
  const payload = await verified(await (await withKey()).fetchIdToken(profiles));
  assert.equal(payload.email, login);
});

test('a key becomes an access token', async () => {
  const { client_email: email, private_key: key } = await credential('key.json');
  const client = redirected(new JWT({ email, key, scopes: [scope] }));
  const { token } = await client.getAccessToken();
  assert.match(token, /^ya29\./);
});

test('a key that is revoked becomes nothing', async () => {
  const { private_key_id: id } = await credential('key.json');
  await control('POST', `keys/${id}/disable`);
  try {
    await assert.rejects((await withKey()).fetchIdToken(profiles), /Invalid JWT Signature/);
  } finally {
    await control('POST', `keys/${id}/enable`);
  }
});

test('a clock that is five minutes ahead of Google\'s is refused', async () => {
  await control('POST', 'clock', { offset: '-5m' });
  await assert.rejects((await withKey()).fetchIdToken(profiles), /Check your iat and exp/);
});

test('the machine impersonates another account', async () => {
  const source = await new GoogleAuth({ scopes: [scope] }).getClient();
  const payload = await verified(await impersonating(source).fetchIdToken(profiles));
  assert.equal(payload.email, search);
  assert.equal(payload.azp, search);
});

test('impersonation goes through a delegate', async () => {
  const source = await new GoogleAuth({ scopes: [scope] }).getClient();
  const delegates = [`projects/-/serviceAccounts/${login}`];
  await verified(await impersonating(source, { delegates }).fetchIdToken(profiles));
  assert.deepEqual((await calls('generateIdToken')).at(-1).body.delegates, delegates);
});

test('an account that does not exist cannot be impersonated', async () => {
  const source = await new GoogleAuth({ scopes: [scope] }).getClient();
  const client = impersonating(source, { targetPrincipal: 'nobody@example.com' });
  await assert.rejects(client.fetchIdToken(profiles), { status: 404 });
});

test('an access token of another account', async () => {
  const source = await new GoogleAuth({ scopes: [scope] }).getClient();
  const { token } = await impersonating(source).getAccessToken();
  assert.match(token, /^ya29\./);
});

test('a workload elsewhere impersonates an account', async () => {
  const file = await credential('external_account.json');
  delete file.service_account_impersonation_url;
  const source = ExternalAccountClient.fromJSON({ ...file, scopes: [scope] });
  const payload = await verified(await impersonating(source).fetchIdToken(profiles));
  assert.equal(payload.email, search);
});

test('the file of a workload elsewhere gives an access token of its account', async () => {
  const file = await credential('external_account.json');
  const client = ExternalAccountClient.fromJSON({ ...file, scopes: [scope] });
  const { token } = await client.getAccessToken();
  assert.match(token, /^ya29\./);
  assert.equal(client.getServiceAccountEmail(), search);
});

test('an exchange that fails is an error', async () => {
  const body = JSON.stringify({ error: 'invalid_grant', error_description: 'expired' });
  const headers = { 'Content-Type': 'application/json' };
  await control('POST', 'faults', { endpoint: 'sts', status: 400, headers, body });
  const file = await credential('external_account.json');
  const client = ExternalAccountClient.fromJSON({ ...file, scopes: [scope] });
  await assert.rejects(client.getAccessToken(), /invalid_grant: expired/);
});

test('the file of a user who impersonates gives an ID token', async () => {
  const client = new GoogleAuth().fromImpersonatedJSON({
    ...(await credential('impersonated_service_account.json')),
    endpoint: emulator,
  });
  redirected(client.sourceClient);
  const payload = await verified(await client.fetchIdToken(profiles));
  assert.equal(payload.email, search);
});
