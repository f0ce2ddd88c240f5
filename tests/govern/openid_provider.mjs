// A certified OpenID provider, for tests: node openid_provider.mjs FOLDER-OF-ITS-MODULES SETTINGS.json
// The settings hold port, clients, keys and accounts; accounts are read anew whenever somebody is asked about.
import { readFileSync } from 'node:fs';

const [, , modules, file] = process.argv;
const { Provider } = await import(`${modules}/node_modules/oidc-provider/lib/index.js`);
const said = () => JSON.parse(readFileSync(file, 'utf8'));
const { issuer, port, clients, jwks } = said();

const provider = new Provider(issuer, {
  clients,
  jwks,
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA', 'HS256'] },
  pkce: { required: () => true },
  claims: { openid: ['sub', 'groups', 'team'], email: ['email', 'email_verified'], profile: ['name'] },
  conformIdTokenClaims: said().conform,
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...said().accounts[id] }) }),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({ scope: 'api', audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
    },
  },
  cookies: { keys: ['of the tests'] },
  ttl: { ClientCredentials: 600 },
});
provider.on('server_error', (_, error) => console.error(error));
provider.listen(port, 'localhost', () => console.log('ready'));
