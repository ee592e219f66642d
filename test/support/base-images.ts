/** Images that stand in for those of public registries, made of this machine's own programs. */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A folder with a Dockerfile and below `root` these programs, the libraries they need, and a shell. */
export function standIn(
  programs: Readonly<Record<string, string>>,
  more: Readonly<Record<string, string>> = {},
): string {
  const place = mkdtempSync(join(tmpdir(), 'skerry-base-'));
  const put = (from: string, to: string) => {
    mkdirSync(dirname(join(place, 'root', to)), { recursive: true });
    cpSync(realpathSync(from), join(place, 'root', to), { recursive: true, dereference: true });
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

function librariesOf(program: string): string[] {
  const listed = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...listed.matchAll(/(?:=>\s+)?(\/\S+)\s+\(0x/g)].map(([, path]) => path as string).filter(existsSync);
}

export function discardStandIn(place: string): void {
  rmSync(place, { recursive: true, force: true });
}
