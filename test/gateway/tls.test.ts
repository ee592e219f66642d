/** The gateway over TLS: its certificate, and a new one while it runs. */
import { rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../errors/skerry-error.ts';
import { type Certificate, CertificateReload, readCertificate } from '../../gateway/listener/certificate.ts';
import { LISTENER_LIMITS } from '../../gateway/listener/limits.ts';
import { type Listener, listen } from '../../gateway/listener/listen.ts';
import { encryptedKey, makeCertificate, type TestCertificate, writeCertificate } from '../support/certificates.ts';

const handlers = {
  dispatch: ({ reply }: { reply: { send(status: number, headers: string[], body: Buffer): void } }) =>
    reply.send(200, [], Buffer.from('hello')),
  own: () => {},
};

async function withFiles(
  pair: TestCertificate,
  work: (files: { cert: string; key: string; folder: string }) => Promise<void>,
): Promise<void> {
  const files = writeCertificate(pair);
  try {
    await work(files);
  } finally {
    rmSync(files.folder, { recursive: true });
  }
}

async function refusal(files: { cert: string; key: string }): Promise<SkerryError> {
  try {
    await readCertificate(files);
  } catch (error) {
    return error as SkerryError;
  }
  throw new Error('it was taken');
}

const good = makeCertificate();
const other = makeCertificate({ name: 'other' });

test('a certificate that is missing, no PEM, of another key, encrypted, or expired is refused with its file', () =>
  withFiles(good, async ({ cert, key, folder }) => {
    assert.is((await readCertificate({ cert, key })).cert.toString(), good.cert);
    const refused = async (code: string, pattern: RegExp, files = { cert, key }) => {
      const error = await refusal(files);
      assert.is(error.code, code, error.message);
      assert.match(error.message, pattern);
      assert.not.match(error.message, /\n/);
    };
    await refused('TLS_UNREADABLE', /nowhere\.pem.*ENOENT/, { cert: `${folder}/nowhere.pem`, key });
    await refused('TLS_UNREADABLE', /EISDIR/, { cert, key: folder });
    writeFileSync(key, encryptedKey(good.key));
    await refused('TLS_INVALID', /key\.pem.*encrypted/);
    writeFileSync(key, 'nonsense');
    await refused('TLS_INVALID', /key\.pem/);
    writeFileSync(key, other.key);
    await refused('TLS_MISMATCH', /key\.pem.*cert\.pem/);
    writeFileSync(cert, good.key);
    await refused('TLS_INVALID', /cert\.pem/);
    const expired = makeCertificate({ days: -1 });
    writeFileSync(cert, expired.cert);
    writeFileSync(key, expired.key);
    await refused('TLS_EXPIRED', /cert\.pem has expired/);
    writeFileSync(cert, `${good.cert}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`);
    writeFileSync(key, good.key);
    await refused('TLS_INVALID', /cert\.pem/);
  }));

interface Following {
  readonly files: { cert: string; key: string };
  readonly reload: CertificateReload;
  readonly applied: Certificate[];
  readonly bad: SkerryError[];
  /** Resolves at the next certificate that was applied or refused. */
  next(): Promise<void>;
}

function following(work: (scene: Following) => Promise<void>): Promise<void> {
  return withFiles(good, async (files) => {
    const applied: Certificate[] = [];
    const bad: SkerryError[] = [];
    let wake = () => {};
    const reload = new CertificateReload(await readCertificate(files), {
      files,
      apply: (certificate) => {
        applied.push(certificate);
        wake();
      },
      onBad: (error) => {
        bad.push(error);
        wake();
      },
      lookMs: 10,
    });
    const next = () =>
      new Promise<void>((resolve) => {
        wake = resolve;
      });
    // What follows the files does not keep a process running by itself.
    const running = setInterval(() => {}, 1000);
    try {
      await reload.ready;
      await work({ files, reload, applied, bad, next });
    } finally {
      clearInterval(running);
      await reload.close();
    }
  });
}

test('a new certificate is taken when its files have changed', () =>
  following(async ({ files, applied, bad, next }) => {
    const taken = next();
    writeFileSync(files.cert, other.cert);
    writeFileSync(files.key, other.key);
    await taken;
    assert.equal(bad, []);
    assert.is(applied[0]!.cert.toString(), other.cert);
  }));

test('a bad new pair is told and not taken; when it is mended it is', () =>
  following(async ({ files, applied, bad, next }) => {
    const told = next();
    writeFileSync(files.cert, other.cert);
    await told;
    assert.is(bad[0]!.code, 'TLS_MISMATCH');
    assert.equal(applied, []);
    const mended = next();
    writeFileSync(files.key, other.key);
    await mended;
    assert.is(applied.length, 1);
    const gone = next();
    rmSync(files.key);
    await gone;
    assert.is(bad[1]!.code, 'TLS_UNREADABLE');
  }));

test('asked to, it reads them at once; what has not changed is not applied again', () =>
  following(async ({ files, applied, bad, reload }) => {
    await reload.reload();
    assert.equal(applied, []);
    writeFileSync(files.cert, 'nonsense');
    await reload.reload();
    assert.is(bad.length, 1);
    writeFileSync(files.cert, other.cert);
    writeFileSync(files.key, other.key);
    await reload.reload();
    assert.is(applied.length, 1);
  }));

async function certificateOf(pair: TestCertificate): Promise<Certificate> {
  let certificate: Certificate | undefined;
  await withFiles(pair, async (files) => {
    certificate = await readCertificate(files);
  });
  return certificate as Certificate;
}

async function withTls(work: (listener: Listener) => Promise<void>, limits = LISTENER_LIMITS): Promise<void> {
  const certificate = await certificateOf(good);
  const listener = await listen({ at: { host: '127.0.0.1', port: 0 }, handlers, certificate, limits });
  try {
    await work(listener);
  } finally {
    await listener.close(0);
  }
}

function dial(url: string, options: object = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      port: Number(new URL(url).port),
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ...options,
    });
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
  });
}

function ask(socket: TLSSocket): Promise<string> {
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  return new Promise((resolve) => socket.once('data', (data) => resolve(data.toString())));
}

test('a client that trusts the certificate gets its answer, and the URL says https', () =>
  withTls(async ({ url }) => {
    assert.match(url, /^https:/);
    const answer = await new Promise<string>((resolve, reject) => {
      const outgoing = request(url, { ca: good.cert, servername: 'localhost', agent: false }, (response) => {
        response.on('data', (data) => resolve(data.toString()));
      });
      outgoing.on('error', reject).end();
    });
    assert.is(answer, 'hello');
  }));

test('open connections go on under the certificate they were made with, new ones get the new one', () =>
  withTls(async ({ url, setCertificate }) => {
    const before = await dial(url);
    assert.match(await ask(before), /^HTTP\/1\.1 200/);
    setCertificate(await certificateOf(other));
    const after = await dial(url);
    assert.is(before.getPeerCertificate().subject.CN, 'localhost');
    assert.is(after.getPeerCertificate().subject.CN, 'other');
    for (const socket of [before, after]) {
      assert.match(await ask(socket), /^HTTP\/1\.1 200/);
      socket.destroy();
    }
  }));

test('the client chooses among h2 and http/1.1; with neither, or an old TLS, there is no connection', () =>
  withTls(async ({ url }) => {
    for (const [offered, chosen] of [
      [['h2', 'http/1.1'], 'h2'],
      [['http/1.1', 'h2'], 'h2'],
      [['http/1.1'], 'http/1.1'],
      [undefined, false],
    ] as const) {
      const socket = await dial(url, offered ? { ALPNProtocols: [...offered] } : {});
      assert.is(socket.alpnProtocol, chosen);
      socket.destroy();
    }
    for (const options of [{ ALPNProtocols: ['spdy/3'] }, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' }]) {
      const failed = await dial(url, options).then(
        (socket) => socket.destroy() && false,
        () => true,
      );
      assert.ok(failed, JSON.stringify(options));
    }
  }));

test('what is no TLS, and a handshake that is never finished, is closed on and harms nothing', () =>
  withTls(
    async ({ url }) => {
      for (const bytes of ['GET / HTTP/1.1\r\nhost: a\r\n\r\n', '\x16\x03\x01']) {
        const socket = connectPlain({ port: Number(new URL(url).port), host: '127.0.0.1' });
        socket.on('error', () => {});
        socket.write(bytes, 'latin1');
        socket.resume();
        await new Promise((resolve) => socket.once('close', resolve));
      }
      const socket = await dial(url);
      assert.match(await ask(socket), /^HTTP\/1\.1 200/);
      socket.destroy();
    },
    { ...LISTENER_LIMITS, headTimeoutMs: 200 },
  ));

test('clients whose handshake is not over do not keep the node from stopping', async () => {
  const certificate = await certificateOf(good);
  const listener = await listen({ at: { host: '127.0.0.1', port: 0 }, handlers, certificate });
  const socket = connectPlain({ port: Number(new URL(listener.url).port), host: '127.0.0.1' });
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('connect', resolve));
  await (await dial(listener.url)).destroy();
  await listener.close(60_000);
  socket.destroy();
});

test.run();
