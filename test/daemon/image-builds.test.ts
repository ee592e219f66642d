// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
/** `skerry build` on a real node, by the real builder: what users write in Dockerfiles, and what they must not reach. */
import { generateKeyPairSync } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assertFailure, skerry } from '../support/cli.ts';
import { removeContainers, whyNoImageBuilds } from '../support/container-node.ts';
import { writeFiles } from '../support/files.ts';
import { ask, discard, type ProcessNode, startProcess } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

interface Scene {
  readonly place: string;
  readonly node: ProcessNode;
}

const why = await whyNoImageBuilds();
const builds = suite<Scene>('builds from Dockerfiles');
const test = (what: string, work: (scene: Scene) => Promise<void>) => testUnless(builds, why, what, work);

const on = ({ node }: Scene, ...args: string[]) => skerry(args, { data: node.data });

/** A folder of these files. */
function files(scene: Scene, name: string, contents: Record<string, string>): string {
  return writeFiles(join(scene.place, name), contents);
}

builds.before(async (scene) => {
  if (why !== null) return;
  Object.assign(scene, { place: mkdtempSync(join(tmpdir(), 'skerry-builds-')), node: await startProcess() });
  const base = files(scene, 'base', {
    Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n',
  });
  copyFileSync('/bin/busybox', join(base, 'busybox'));
  chmodSync(join(base, 'busybox'), 0o755);
  const built = await on(scene, 'build', '-t', 'base', base);
  assert.is(built.status, 0, built.stderr);
});
builds.after(async ({ place, node }) => {
  if (why !== null) return;
  await discard(node);
  await removeContainers(node.data);
  rmSync(place, { recursive: true, force: true });
});

test('FROM, RUN and CMD: my_image is built, shown, and run as my_container', async (scene) => {
  const folder = files(scene, 'seed', {
    Dockerfile: 'FROM base\nRUN echo made by a build > /made\nCMD ["cat", "/made"]\n',
  });
  const { status, stdout, stderr } = await on(scene, 'build', '-t', 'my_image', folder);
  assert.is(status, 0, stderr);
  assert.match(stdout, /^my_image:latest sha256:[0-9a-f]{64}\n$/);
  assert.match(stderr, /STEP 2\/3: RUN echo made by a build/);
  assert.match((await on(scene, 'images')).stdout, /^my_image:latest/m);
  assert.is((await on(scene, 'run', '-d', '--name', 'my_container', 'my_image')).stdout, 'my_container\n');
  for (let tries = 0; !/made by a build/.test((await on(scene, 'logs', 'my_container')).stdout); tries++) {
    assert.ok(tries < 100);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await on(scene, 'rm', 'my_container');
  // As for another registry, under the name that it is pushed by.
  const named = await on(scene, 'tag', 'my_image', 'registry.example/team/mine:v1');
  assert.is(named.status, 0, named.stderr);
  assert.match((await on(scene, 'images')).stdout, /^registry\.example\/team\/mine:v1 +pulled /m);
  assert.is((await on(scene, 'tag', 'registry.example/team/mine:v1', 'back')).status, 0);
  assert.is((await on(scene, 'run', '--rm', 'back')).stdout, 'made by a build\n');
});

test('stages, arguments, a secret and .dockerignore; the secret is in no layer', async (scene) => {
  const folder = files(scene, 'stages', {
    Dockerfile: [
      'ARG BASE=base',
      'FROM ${BASE} AS maker',
      'ARG GREETING=hello',
      'RUN --mount=type=secret,id=password echo $GREETING $(wc -c < /run/secrets/password) > /greeting',
      'FROM base',
      '# a comment',
      'COPY --from=maker /greeting \\',
      '     /greeting',
      'COPY . /all/',
      'USER 1000:1000',
      'ENV SHOWN=yes',
      'CMD cat /greeting; ls /all; id -u; echo $SHOWN',
    ].join('\n'),
    '.dockerignore': 'ignored*\n',
    'ignored.txt': 'x',
    'kept.txt': 'y',
    password: 'a secret of 22 bytes!!',
  });
  const secret = `id=password,src=${join(folder, 'password')}`;
  writeFileSync(join(folder, '.dockerignore'), 'ignored*\npassword\n');
  const built = await on(
    scene,
    'build',
    '-t',
    'team/stages:v1',
    '--build-arg',
    'GREETING=hi',
    '--secret',
    secret,
    folder,
  );
  assert.is(built.status, 0, built.stderr);
  const shown = await on(scene, 'run', '--rm', 'team/stages:v1');
  assert.is(shown.stdout, 'hi 22\nDockerfile\nkept.txt\n1000\nyes\n');
  const content = join(scene.node.data, 'content');
  for (const name of readdirSync(content, { recursive: true, encoding: 'utf8' })) {
    const path = join(content, name);
    if (!/[0-9a-f]{64}$/.test(name)) continue;
    assert.not(readFileSync(path).includes('a secret of 22 bytes'), path);
  }
});

test('a deploy of a folder with a Dockerfile builds it and serves it', async (scene) => {
  const folder = files(scene, 'site', {
    Dockerfile: 'FROM base\nCOPY page /www/index.html\nEXPOSE 8080\nCMD ["httpd", "-f", "-p", "8080", "-h", "/www"]\n',
    page: 'from a Dockerfile\n',
  });
  const deployed = await on(scene, 'deploy', folder);
  assert.is(deployed.status, 0, deployed.stderr);
  assert.is((await ask(scene.node.url, { path: '/site/' })).body.toString(), 'from a Dockerfile\n');
});

test('the same source gives the same digest when its time is said', async (scene) => {
  const folder = files(scene, 'same', { Dockerfile: 'FROM base\nRUN date > /dev/null; echo x > /x\n', file: 'f' });
  const digests = new Set<string>();
  for (const name of ['one', 'two']) {
    const { status, stdout, stderr } = await skerry(['build', '--no-cache', '-t', name, folder], {
      data: scene.node.data,
      env: { SOURCE_DATE_EPOCH: '1700000000' },
    });
    assert.is(status, 0, stderr);
    digests.add(stdout.split(' ')[1] as string);
  }
  assert.is(digests.size, 1);
});

const wrong: [string, string, string, RegExp][] = [
  [
    'a step that fails',
    'FROM base\nRUN echo fine\nRUN echo why >&2; exit 3\n',
    'IMAGE_BUILD_STEP_FAILED',
    /:3:1: RUN echo why.*status 3/,
  ],
  [
    'an unknown instruction',
    'FROM base\n\n# comment\nRUNN echo\n',
    'DOCKERFILE_INVALID',
    /:4:1: there is no instruction RUNN/,
  ],
  [
    'a file that is not there',
    'FROM base\nCOPY missing /x\n',
    'IMAGE_BUILD_STEP_FAILED',
    /:2:1: COPY missing \/x: "\/missing": no such file/,
  ],
  ['an image that is not there', 'FROM not_here\n', 'IMAGE_NOT_HERE', /not_here/],
  ['nothing', '\n', 'IMAGE_BUILD_FAILED', /Dockerfile/],
];
for (const [what, dockerfile, code, pattern] of wrong) {
  test(`${what} is told with its place, and nothing gets the name`, async (scene) => {
    const folder = files(scene, 'wrong', { Dockerfile: dockerfile });
    const { status, stdout, stderr } = await on(scene, 'build', '-t', 'wrong', folder);
    assertFailure({ status, stdout, stderr: `${stderr.trimEnd().split('\n').at(-1)}\n` }, code, 1, pattern);
    assert.not.match((await on(scene, 'images')).stdout, /wrong/);
  });
}

test('what a policy refuses is not built upon', async (scene) => {
  const folder = files(scene, 'upon', { Dockerfile: 'FROM scratch\nCOPY --from=team/part /page /page\nENV A=b\n' });
  const part = files(scene, 'part', { Dockerfile: 'FROM scratch\nCOPY page /page\n', page: 'x' });
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const [key, pub] = [join(scene.place, 'part.key'), join(scene.place, 'part.pub')];
  writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  writeFileSync(pub, publicKey.export({ type: 'spki', format: 'pem' }));
  assert.is((await on(scene, 'build', '-t', 'team/part', part)).status, 0);
  const build = () => on(scene, 'build', '-t', 'upon', folder);
  assert.is((await build()).status, 0);
  await on(scene, 'policy', 'set', 'team/*', '--key', pub);
  const removed = await on(scene, 'image', 'rm', 'upon');
  assert.match(removed.stdout, /^upon:latest is removed: 0B freed; [\d.]+[KM]?i?B that came lately .* for an hour\n$/);
  const refused = await build();
  assert.match(refused.stderr, /team\/part.*no signature.*\[NOT_SIGNED\]\n$/, 'not even when the builder has it');
  assert.not.match((await on(scene, 'images')).stdout, /^upon/m);
  assert.is((await on(scene, 'sign', 'team/part', '--key', key)).status, 0);
  const built = await build();
  assert.is(built.status, 0, built.stderr);
});

test('names that are none are refused before anything is built', async (scene) => {
  const folder = files(scene, 'names', { Dockerfile: 'FROM base\n' });
  assertFailure(await on(scene, 'build', '-t', 'Upper', folder), 'REFERENCE_INVALID', 1, /Upper/);
  assertFailure(await on(scene, 'build', '-t', 'oci:/tmp/x', folder), 'IMAGE_NAME_NEEDED', 1, /oci/);
  assertFailure(await on(scene, 'build', folder), 'USAGE', 2, /--tag/);
  assertFailure(await on(scene, 'build', '-t', 'x', join(folder, 'none')), 'UNREADABLE', 1, /none/);
});

test('a step sees neither the host, its processes, its network nor its files, and gains nothing', async (scene) => {
  const probe = [
    'FROM base',
    `RUN ls ${scene.node.data} /root /home 2>/dev/null; echo files $?`,
    'RUN wget -T 2 -q -O - $GATEWAY && echo reached || echo no network',
    'RUN ls /proc | grep -c "^[0-9]*$" | (read n; test $n -lt 10 && echo own processes)',
    'RUN mount -t tmpfs none /bin 2>/dev/null && echo mounted || echo no mount',
    'RUN mknod /dev/sda b 8 0 2>/dev/null && cat /dev/sda > /dev/null && echo disk || echo no disk',
    'RUN echo 1 > /proc/sys/kernel/panic && echo kernel || echo no kernel',
  ].join('\n');
  const folder = files(scene, 'probe', { Dockerfile: probe.replace('$GATEWAY', scene.node.url) });
  const { status, stderr } = await on(scene, 'build', '-t', 'probe', folder);
  assert.is(status, 0, stderr);
  for (const said of ['no network', 'own processes', 'no mount', 'no disk', 'no kernel']) {
    assert.match(stderr, new RegExp(`^${said}$`, 'm'), stderr);
  }
  assert.not.match(stderr, /^(reached|mounted|disk|kernel|node\.key|files 0)$/m);
});

test('links in a folder do not lead the build out of it', async (scene) => {
  const folder = files(scene, 'links', { Dockerfile: 'FROM base\nCOPY link /stolen\nRUN cat /stolen\n' });
  const { symlinkSync } = await import('node:fs');
  symlinkSync('/etc/shadow', join(folder, 'link'));
  const { status, stderr } = await on(scene, 'build', '-t', 'links', folder);
  assert.is(status, 1, stderr);
  assert.not.match(stderr, /root:/);
});

test('a build whose client leaves is ended, with all of its processes, and the node goes on', async (scene) => {
  const folder = files(scene, 'long', { Dockerfile: 'FROM base\nRUN echo begun; sleep 98765\n' });
  const stop = new AbortController();
  const { spawn } = await import('node:child_process');
  const { projectRoot } = await import('../../errors/project-root.ts');
  const client = spawn(process.execPath, [join(projectRoot, 'bin/skerry.js'), 'build', '-t', 'long', folder], {
    env: { ...process.env, NODE_OPTIONS: '', SKERRY_DATA: scene.node.data },
    signal: stop.signal,
  });
  client.on('error', () => {});
  let said = '';
  client.stderr.on('data', (piece) => {
    said += piece;
  });
  const running = () =>
    readdirSync('/proc').some((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep\x0098765');
      } catch {
        return false;
      }
    });
  for (let tries = 0; !running(); tries++) {
    assert.ok(tries < 200, said);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  client.kill('SIGKILL');
  for (let tries = 0; running(); tries++) {
    assert.ok(tries < 200, 'it is ended');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.is((await on(scene, 'images')).status, 0);
  for (let tries = 0; readdirSync(join(scene.node.data, 'builds', 'work')).length > 0; tries++) {
    assert.ok(tries < 100, 'nothing of it is left');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

test('what builds keep for the next ones goes when none has used it for a week, and the next one does without', async (scene) => {
  const folder = files(scene, 'cached', { Dockerfile: 'FROM base\nRUN echo cached > /cached\n' });
  assert.is((await on(scene, 'build', '-t', 'cached', folder)).status, 0);
  assert.not.match((await on(scene, 'image', 'prune')).stdout, /builds had kept/);
  assert.match((await on(scene, 'build', '-t', 'cached', folder)).stderr, /Using cache/);
  const then = Date.now() / 1000 - 8 * 86_400;
  utimesSync(join(scene.node.data, 'builds', 'used'), then, then);
  assert.match((await on(scene, 'image', 'prune')).stdout, /that builds had kept for the next ones freed/);
  assert.equal(readdirSync(join(scene.node.data, 'builds', 'storage')), []);
  const again = await on(scene, 'build', '-t', 'cached', folder);
  assert.is(again.status, 0, again.stderr);
  assert.not.match(again.stderr, /Using cache/);
});

builds.run();
