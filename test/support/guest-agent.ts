/** The guest's end of the stream to the node, in a test's hand: well-behaved as far as it goes, hostile where the test says. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { FieldWriter } from '../../runtime/drivers/microvm/agent/fields.ts';
import { encodeFrame, type Frame, FrameParser } from '../../runtime/drivers/microvm/agent/frames.ts';
import { asked, NONCE_BYTES, STATES, told, VERSION } from '../../runtime/drivers/microvm/agent/messages.ts';

/** Two ends of a stream of the kernel's. */
export async function streamPair(): Promise<[Socket, Socket]> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [far] = (await once(server, 'connection')) as [Socket];
  server.close();
  for (const end of [near, far]) end.on('error', () => {});
  return [near, far];
}

export const bytesOf = (write: (to: FieldWriter) => FieldWriter): Buffer => write(new FieldWriter()).finish();

export function helloPayload(nonce: Uint8Array, version = VERSION): Buffer {
  return bytesOf((to) => to.raw(nonce).u16(version).bytes('0.1.0').u8(STATES.indexOf('waiting')));
}

export const startedPayload = bytesOf((to) => to.u32(42).u32(64 * 1024));
export const exitedPayload = (status: number) => bytesOf((to) => to.u8(0).u8(status).u8(0));

/** Reads what the node asks; answers its greeting by itself. */
export class GuestAgent {
  readonly stream: Socket;
  readonly #frames: Frame[] = [];
  #arrived = () => {};

  /** `greeting`: what comes before the answer to the greeting. */
  constructor(stream: Socket, { version = VERSION, greeting = Buffer.alloc(0) } = {}) {
    this.stream = stream;
    const parser = new FrameParser((frame) => {
      if (frame.kind === asked.hello) {
        const nonce = frame.payload.subarray(2, 2 + NONCE_BYTES);
        this.stream.write(greeting);
        this.send(told.hello, frame.channel, helloPayload(nonce, version));
        return;
      }
      this.#frames.push({ ...frame, payload: Buffer.from(frame.payload) });
      this.#arrived();
    });
    stream.on('data', (bytes) => parser.push(bytes));
  }

  send(kind: number, channel: number, payload: Uint8Array = Buffer.alloc(0)): boolean {
    return this.stream.write(encodeFrame(kind, channel, payload));
  }

  /** The next thing that the node asks. */
  async asked(): Promise<Frame> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame) return frame;
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }
}
