/** `gantry config` and `gantry import`, as they are called. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { newUser } from '../support/cli.ts';

const GOOD = `
creds:
  - registry: r.io
    user: me
    pass: '{{ file "token" }}'
defaults: {hooks: {pre: {type: exec}}}
sync:
  - {source: alpine, target: "r.io/\${WHERE:-mirror}/alpine", type: repository}
`;

const BAD = `version: 1
sync:
  - source: alpine
    target: r.io/alpine
    typ: repository
    type: repo
`;

test('validate and print say what gantry makes of a file', async () => {
  await using user = await newUser();
  await writeFile(join(user.home, 'token'), 'hunter2\n');
  await writeFile(join(user.home, 'mirror.yml'), GOOD.replace('"token"', `"${join(user.home, 'token')}"`));
  const good = await user.sh('cd "$HOME" && gantry config validate');
  assert.deepEqual([good.code, good.stdout], [0, 'mirror.yml: 1 rule, 1 warning\n']);
  assert.match(good.stderr, /^gantry: warning: mirror\.yml:6:12: defaults\.hooks: hooks are never run\n {2}defaults/);

  for (const args of ['mirror.yml', '-f mirror.yml', '-f mirror.yml mirror.yml']) {
    const printed = await user.sh(`cd "$HOME" && gantry config print ${args}`, { WHERE: 'there' });
    assert.equal(printed.code, 0, printed.stderr);
    assert.match(printed.stdout, /targets:\n {6}- r\.io\/there\/alpine\n/);
    assert.match(printed.stdout, /pass: "\[secret\]"/);
    assert.doesNotMatch(printed.stdout + printed.stderr, /hunter2/);
  }
});

test('a bad file ends with 2 and all that is wrong', async () => {
  await using user = await newUser();
  await writeFile(join(user.home, 'mirror.yml'), BAD);
  for (const command of ['validate', 'print']) {
    const { code, stdout, stderr } = await user.sh(
      `cd "$HOME" && gantry config ${command} -q mirror.yml`.replace('print -q', 'print'),
    );
    assert.deepEqual([code, stdout], [2, '']);
    assert.equal(
      stderr,
      [
        'gantry: mirror.yml: 2 problems',
        'mirror.yml:5:5: sync.0.typ: unknown key; did you mean type?',
        '      typ: repository',
        '      ^',
        'mirror.yml:6:11: sync.0.type: expected image, repository or registry',
        '      type: repo',
        '            ^',
        '',
      ].join('\n'),
    );
  }
});

test('what cannot be read is told', async () => {
  await using user = await newUser();
  const missing = await user.gantry(['config', 'validate', join(user.home, 'none.yml')]);
  assert.deepEqual([missing.code, missing.stderr], [4, `gantry: there is no file ${join(user.home, 'none.yml')}\n`]);
  const directory = await user.gantry(['config', 'validate', user.home]);
  assert.equal(directory.code, 1);
  assert.match(directory.stderr, /^gantry: cannot read .+: EISDIR[^\n]+\n$/);
  const two = await user.gantry(['config', 'print', 'a.yml', '-f', 'b.yml']);
  assert.deepEqual([two.code, two.stderr], [2, 'gantry: two mirror files are given; leave out -f or the argument\n']);
  const nothing = await user.gantry(['config']);
  assert.deepEqual([nothing.code, nothing.stdout], [2, '']);
  assert.match(nothing.stderr, /^Usage: gantry config[^]*validate[^]*print[^]*schema/);
});

test('schema prints what is published', async () => {
  await using user = await newUser();
  const { code, stdout } = await user.gantry(['config', 'schema']);
  const printed: unknown = JSON.parse(stdout);
  const published: unknown = JSON.parse(
    await readFile(new URL('../../docs/mirror.schema.json', import.meta.url), 'utf8'),
  );
  assert.equal(code, 0);
  assert.deepEqual(printed, published);
});

test('import writes a mirror file to stdout and what it leaves out to stderr', async () => {
  await using user = await newUser();
  await writeFile(
    join(user.home, 'sync.yml'),
    'r.io:\n  images: {redis: ["7"]}\n  credentials: {username: u, password: hunter2}\n  cert-dir: /certs\n',
  );
  const wrong = await user.sh('cd "$HOME" && gantry config validate sync.yml');
  assert.equal(wrong.code, 2);
  assert.match(
    wrong.stderr,
    /this is a file of skopeo sync, not a mirror file \(`gantry import skopeo FILE > mirror\.yml`/,
  );

  const imported = await user.sh('cd "$HOME" && gantry import skopeo sync.yml --target s.io/m > mirror.yml');
  assert.equal(imported.code, 0);
  assert.match(imported.stderr, /^gantry: sync\.yml:4:3: r\.io\.cert-dir: it has no counterpart/m);
  assert.match(
    imported.stderr,
    /^gantry: sync\.yml:3:30: r\.io\.credentials\.password: the password is not carried over/m,
  );
  const checked = await user.sh('cd "$HOME" && gantry config validate', { R_IO_PASSWORD: 'x' });
  assert.deepEqual([checked.code, checked.stdout, checked.stderr], [0, 'mirror.yml: 1 rule, 0 warnings\n', '']);

  await writeFile(join(user.home, 'images.json'), '{"r.io/a:1": "s.io/a"}');
  const images = await user.gantry(['import', 'image-syncer', join(user.home, 'images.json')]);
  assert.deepEqual([images.code, images.stderr], [0, '']);
  assert.match(images.stdout, /source: r\.io\/a:1/);
  assert.doesNotMatch(imported.stdout + imported.stderr, /hunter2/);
});
