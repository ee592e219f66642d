import { crc32 } from 'node:zlib';
import { stateErrors } from './errors.ts';

/*
 * One document on disk: a format byte, the CRC-32 of the key and all that follows (4 bytes), the generation (8 bytes),
 * the value as JSON. The key is part of the checksum, so that a record which turns up under another key is refused too.
 * LMDB itself has no checksums: without this, a flipped bit of the disk would be served as the user's wish.
 */
const format = 1;
const checksumAt = 1;
const generationAt = 5;
const jsonAt = 13;

/** A document is a spec, not a payload: payloads belong in the content store. In bytes. */
const maxValueBytes = 16 * 1024 * 1024;

function checksum(key: string, body: Uint8Array): number {
  return crc32(body, crc32(key));
}

/** Throws STATE_VALUE_INVALID for what JSON cannot express. */
export function encodeRecord(key: string, generation: number, value: unknown): Buffer {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (error) {
    throw stateErrors.STATE_VALUE_INVALID(key, (error as Error).message).because(error);
  }
  if (json === undefined) throw stateErrors.STATE_VALUE_INVALID(key, `it is ${typeof value}`);
  const size = Buffer.byteLength(json);
  if (size > maxValueBytes) throw stateErrors.STATE_VALUE_INVALID(key, `it has ${size} bytes`);
  const record = Buffer.allocUnsafe(jsonAt + size);
  record[0] = format;
  record.writeBigUInt64BE(BigInt(generation), generationAt);
  record.write(json, jsonAt);
  record.writeUInt32BE(checksum(key, record.subarray(generationAt)), checksumAt);
  return record;
}

/** Throws STATE_CORRUPT. */
function checkRecord(key: string, record: Buffer): void {
  if (record.length < jsonAt) throw stateErrors.STATE_CORRUPT(key, `the record has only ${record.length} bytes`);
  if (record[0] !== format) throw stateErrors.STATE_CORRUPT(key, `the record has the unknown format ${record[0]}`);
  if (record.readUInt32BE(checksumAt) !== checksum(key, record.subarray(generationAt)))
    throw stateErrors.STATE_CORRUPT(key, 'its checksum is wrong');
}

/** Throws STATE_CORRUPT. */
export function decodeGeneration(key: string, record: Buffer): number {
  checkRecord(key, record);
  return Number(record.readBigUInt64BE(generationAt));
}

/** Throws STATE_CORRUPT. */
export function decodeRecord<T>(key: string, record: Buffer): { key: string; generation: number; value: T } {
  const generation = decodeGeneration(key, record);
  return { key, generation, value: JSON.parse(record.toString('utf8', jsonAt)) as T };
}
