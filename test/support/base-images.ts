/** Images that stand in for those of public registries, made of this machine's own programs. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

/** A folder with a Dockerfile and below `root` these programs, the libraries they need, and a shell. */
export function standIn(
  programs: Readonly<Record<string, string>>,
  more: Readonly<Record<string, string>> = {},
): string {
  const place = mkdtempSync(join(tmpdir(), 'skerry-base-'));
  const put = (from: string, to: string) => {
    mkdirSync(dirname(join(place, 'root', to)), { recursive: true });
    cpSync(realpathSync(from), join(place, 'root', to), { recursive: true, dereference: true, filter: isUseful });
  };
  for (const [to, from] of Object.entries(programs)) {
    put(from, to);
    for (const library of librariesOf(from)) put(library, library);
  }
  for (const [to, from] of Object.entries(more)) put(from, to);
  put('/bin/busybox', '/bin/busybox');
  mkdirSync(join(place, 'root', 'tmp'));
  chmodSync(join(place, 'root', 'tmp'), 0o1777);
  const install = 'RUN ["/bin/busybox", "--install", "-s", "/bin"]';
  const path = 'ENV PATH=/usr/local/bin:/usr/bin:/bin';
  writeFileSync(join(place, 'Dockerfile'), `FROM scratch\nCOPY root /\n${install}\n${path}\n`);
  return place;
}

/** Large folders of runtimes that no program needs. */
const isUseful = (path: string) =>
  !/\/(?:__pycache__|test|tests|idlelib|site-packages|dist-packages|config-[^/]*)$/.test(path);

/** One like `python:3.13-slim`, of the Python that is on the PATH, with its pip; or why there can be none. */
export function pythonStandIn(): { make: () => string } | string {
  const ask =
    'import os, sys, sysconfig, pip; print(os.path.realpath(sys.executable), sysconfig.get_path("stdlib"), pip.__path__[0])';
  const said = spawnSync('python3', ['-c', ask], { encoding: 'utf8' });
  if (said.status !== 0) return 'there is no python3 with pip';
  const [program = '', library = '', pip = ''] = said.stdout.trim().split(' ');
  const home = `/usr/local/lib/${basename(library)}`;
  const dynamic = join(library, 'lib-dynload');
  const modules = readdirSync(dynamic).map((name) => [`${home}/lib-dynload/${name}`, join(dynamic, name)]);
  const programs = { '/usr/local/bin/python3': program, ...Object.fromEntries(modules) };
  return { make: () => standIn(programs, { [home]: library, [`${home}/site-packages/pip`]: pip }) };
}

/** One like `eclipse-temurin:21-jre`, of the JDK that is on the PATH; or why there can be none. */
export function javaStandIn(): { make: () => string } | string {
  for (const tool of ['jlink', 'javac', 'jar'])
    if (spawnSync(tool, ['--version']).status !== 0)
      return `there is no ${tool} (apt-get install default-jdk-headless)`;
  const make = () => {
    const work = mkdtempSync(join(tmpdir(), 'skerry-jre-'));
    try {
      const jre = join(work, 'jre');
      execFileSync('jlink', ['--add-modules', 'jdk.httpserver', '--strip-debug', '--no-man-pages', '--output', jre]);
      const machine = join(jre, 'lib', 'server', 'libjvm.so');
      const java = join(jre, 'bin', 'java');
      const place = standIn(
        { '/opt/java/bin/java': java, '/opt/java/lib/server/libjvm.so': machine },
        { '/opt/java': jre },
      );
      const command = join(place, 'root', 'usr', 'local', 'bin');
      mkdirSync(command, { recursive: true });
      writeFileSync(join(command, 'java'), '#!/bin/sh\nexec /opt/java/bin/java "$@"\n', { mode: 0o755 });
      return place;
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  };
  return { make };
}

/** As the dynamic linker finds them. */
export function librariesOf(program: string): string[] {
  const listed = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...listed.matchAll(/(?:=>\s+)?(\/\S+)\s+\(0x/g)]
    .map(([, path]) => path as string)
    .filter((path) => existsSync(path) && !path.startsWith(tmpdir()));
}

export function discardStandIn(place: string): void {
  rmSync(place, { recursive: true, force: true });
}
