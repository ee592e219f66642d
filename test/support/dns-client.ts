/** Questions and answers of the DNS as bytes, made and read without the code that is tested. */

export interface QuestionInit {
  readonly id?: number;
  /** In wire order; a Buffer is a label of any bytes. */
  readonly labels?: readonly (string | Buffer)[];
  readonly type?: number;
  readonly class?: number;
  readonly flags?: number;
  readonly counts?: readonly [number, number, number, number];
  /** Behind the question. */
  readonly rest?: Buffer;
}

export function question(name: string, init: QuestionInit = {}): Buffer {
  const { id = 7, type = 1, flags = 0x0100, counts = [1, 0, 0, 0], rest = Buffer.alloc(0) } = init;
  const labels = init.labels ?? (name === '' ? [] : name.split('.'));
  const numbers = [id, flags, ...counts];
  const head = Buffer.alloc(12);
  for (const [i, value] of numbers.entries()) head.writeUInt16BE(value, 2 * i);
  const encoded = labels.flatMap((label) => [Buffer.from([Buffer.from(label).length]), Buffer.from(label)]);
  const tail = Buffer.alloc(5);
  tail.writeUInt16BE(type, 1);
  tail.writeUInt16BE(init.class ?? 1, 3);
  return Buffer.concat([head, ...encoded, tail, rest]);
}

export interface Answered {
  readonly id: number;
  /** 0: fine, 2: failed, 3: no such name, 4: not implemented, 5: refused. */
  readonly code: number;
  readonly address: string | null;
  readonly answers: number;
  /** The question as it was told back. */
  readonly question: Buffer;
}

export function readAnswer(bytes: Buffer): Answered {
  const answers = bytes.readUInt16BE(6);
  let end = 12;
  while (bytes[end] !== 0) end += 1 + bytes[end]!;
  const rest = bytes.subarray(end + 5);
  return {
    id: bytes.readUInt16BE(0),
    code: bytes.readUInt16BE(2) & 0xf,
    answers,
    address: answers === 1 ? rest.subarray(12, 16).join('.') : null,
    question: bytes.subarray(12, end + 5),
  };
}
