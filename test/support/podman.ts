import { writeFile } from 'node:fs/promises';
import { cleanEnv, runOk, type RunResult } from './process.ts';
import { tempDir } from './temp.ts';

export interface Podman extends AsyncDisposable {
  /** Fails when podman does. */
  podman(...args: string[]): Promise<RunResult>;
  /** The id of the image. */
  pull(...args: string[]): Promise<string>;
}

/** podman with a storage of its own, for root; `registriesConf` is in the place of the machine's. */
export async function newPodman(registriesConf = ''): Promise<Podman> {
  const dir = await tempDir('gantry-podman-');
  const [conf, policy] = [dir.join('registries.conf'), dir.join('policy.json')];
  await writeFile(conf, registriesConf);
  await writeFile(policy, '{"default":[{"type":"insecureAcceptAnything"}]}');
  const env = cleanEnv(dir.path, { CONTAINERS_REGISTRIES_CONF: conf });
  const storage = ['--root', dir.join('root'), '--runroot', dir.join('run'), '--tmpdir', dir.join('tmp')];
  const common = [...storage, '--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs', '--events-backend', 'none'];
  const podman = (...args: string[]): Promise<RunResult> => runOk('podman', [...common, ...args], { env });
  return {
    podman,
    pull: async (...args) => (await podman('pull', '-q', '--signature-policy', policy, ...args)).stdout.trim(),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}
