/** Rust that listens for itself: one program without a C library of the system, compiled here, alone in an image. */
import { chmod, copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Builder, oneProgram } from './builder.ts';
import { buildWithCargo } from './cargo.ts';
import { crateOf } from './rust.ts';

const MACHINES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };
const TARGET = `${MACHINES[process.arch] ?? process.arch}-unknown-linux-musl`;

export const rustImage: Builder = {
  name: 'rust-image',
  makes: 'image',
  looksFor: 'Cargo.toml with a crate that listens (axum, hyper, ...)',
  async detect(folder) {
    const crate = await crateOf(folder);
    if (crate === null) return null;
    const how = crate.server === undefined ? '' : `, which listens by ${crate.server}`;
    return {
      why: `Cargo.toml is of ${crate.name}${how}, compiled for ${TARGET}`,
      // Only who says so gets an image of what may be a component.
      weak: crate.server === undefined,
      async make(work) {
        const program = join(work.scratch, 'app');
        await copyFile(await buildWithCargo(folder, TARGET, 'rust-image', work), program);
        await chmod(program, 0o755);
        return oneProgram(work.scratch);
      },
    };
  },
};
