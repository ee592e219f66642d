import { crc32 } from 'node:zlib';
import { keyvalueErrors } from './errors.ts';

/*
 * One value on disk: a format byte, the CRC-32 of the key and all that follows (4 bytes), the version (8 bytes), the
 * value. As in the state store the key is part of the checksum: a record that turns up under another key is refused.
 */
const format = 1;
const checksumAt = 1;
const versionAt = 5;
const valueAt = 13;

export interface StoredValue {
  readonly value: Buffer;
  readonly version: bigint;
}

function checksum(key: string, body: Uint8Array): number {
  return crc32(body, crc32(key));
}

export function encodeValue(key: string, version: bigint, value: Uint8Array): Buffer {
  const record = Buffer.allocUnsafe(valueAt + value.byteLength);
  record[0] = format;
  record.writeBigUInt64BE(version, versionAt);
  record.set(value, valueAt);
  record.writeUInt32BE(checksum(key, record.subarray(versionAt)), checksumAt);
  return record;
}

/** Of a record's value, in bytes, also when it is damaged. */
export function valueBytes(record: Buffer): number {
  return Math.max(0, record.length - valueAt);
}

/** Throws KEYVALUE_DAMAGED. */
export function decodeValue(key: string, record: Buffer): StoredValue {
  const intact =
    record.length >= valueAt &&
    record[0] === format &&
    record.readUInt32BE(checksumAt) === checksum(key, record.subarray(versionAt));
  if (!intact) throw keyvalueErrors.KEYVALUE_DAMAGED();
  return { value: record.subarray(valueAt), version: record.readBigUInt64BE(versionAt) };
}
