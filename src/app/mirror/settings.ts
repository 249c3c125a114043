/** From the `creds` of a mirror file to the settings of a registry client. */
import type { MirrorCreds, MirrorFile } from '../../mirror/file/types.ts';
import type { ExplicitCredentials } from '../../registry/credentials.ts';
import type { SaidHost } from '../../registry/hosts.ts';
import { registryName } from '../../registry/registry-name.ts';
import { Secret } from '../../secret.ts';
import type { Config } from '../config.ts';
import type { RegistrySettings } from '../wiring.ts';

/** What files have in common that say something about registries. */
type SaidOfRegistries = Pick<MirrorFile, 'creds' | 'userAgent'>;

/** What the file says goes before what is configured elsewhere. @throws GantryError INVALID for a registry */
export function mirrorSettings(file: SaidOfRegistries | undefined, settings: RegistrySettings): RegistrySettings {
  if (file === undefined) return settings;
  const said = <T>(of: (creds: MirrorCreds) => T | undefined): ReadonlyMap<string, T> =>
    new Map(
      file.creds.flatMap((creds) => {
        const value = of(creds);
        return value === undefined ? [] : [[registryName(creds.registry), value] as const];
      }),
    );
  return {
    ...settings,
    explicit: said(credentialsOf),
    hosts: said((creds) => hostOf(creds, file)),
    limits: said(limitsOf),
    ...(file.userAgent === undefined ? {} : { userAgent: file.userAgent }),
  };
}

/** Without docker's and containers' credentials, where the file wants none. */
export const mirrorConfig = (file: MirrorFile | undefined, config: Config): Config =>
  file?.skipDockerConfig === true ? { ...config, credentialFiles: [], inlineCredentials: undefined } : config;

function credentialsOf({ user, pass, token, credHelper }: MirrorCreds): ExplicitCredentials | undefined {
  if (credHelper !== undefined) return { helper: credHelper.replace(/^docker-credential-/, '') };
  if (token !== undefined) return { identityToken: new Secret(token.reveal()) };
  if (user === undefined && pass === undefined) return undefined;
  return { username: user ?? '', password: new Secret(pass?.reveal() ?? '') };
}

function hostOf(creds: MirrorCreds, file: SaidOfRegistries): SaidHost | undefined {
  const { hostname, tls, regcert, clientCert, clientKey, pathPrefix, mirrors } = creds;
  const isSaid = [hostname, tls, regcert, clientCert, pathPrefix].some((value) => value !== undefined);
  if (!isSaid && mirrors.length === 0) return undefined;
  const priorityOf = (name: string): number => file.creds.find(({ registry }) => registry === name)?.priority ?? 0;
  return {
    hostname,
    tls,
    ca: regcert === undefined ? [] : [regcert],
    client:
      clientCert === undefined || clientKey === undefined
        ? []
        : [{ cert: clientCert, key: new Secret(clientKey.reveal()) }],
    pathPrefix,
    // regsync asks those with the lower number first.
    mirrors: mirrors.toSorted((a, b) => priorityOf(a) - priorityOf(b)),
  };
}

const limitsOf = ({ reqConcurrent, reqPerSec }: MirrorCreds) =>
  reqConcurrent === undefined && reqPerSec === undefined
    ? undefined
    : { concurrent: reqConcurrent, perSecond: reqPerSec };
