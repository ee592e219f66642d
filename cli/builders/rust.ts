/** Rust: a component for WASI 0.2 (or 0.3, by the crates it uses), compiled here. */
import type { Builder } from './builder.ts';
import { buildWithCargo } from './cargo.ts';
import { type SourceFolder, tableOf } from './source-folder.ts';

const TARGET = 'wasm32-wasip2';
/** Crates of functions: with one of them it is a component, whatever else it has. */
const COMPONENTS = ['wstd', 'wasip2', 'wasip3', 'wasi', 'wit-bindgen', 'waki', 'spin-sdk'];
/** Crates that listen for themselves, which no component can. */
const SERVERS = ['axum', 'actix-web', 'hyper', 'warp', 'rocket', 'poem', 'salvo', 'ntex', 'tide', 'tiny_http'];

export const rust: Builder = {
  name: 'rust',
  makes: 'component',
  looksFor: 'Cargo.toml',
  async detect(folder) {
    const crate = await crateOf(folder);
    if (crate === null || crate.server !== undefined) return null;
    return {
      why: `Cargo.toml is of ${crate.name}, compiled for ${TARGET}`,
      make: async (work) => ({ kind: 'component', file: await buildWithCargo(folder, TARGET, 'rust', work) }),
    };
  },
};

export interface Crate {
  readonly name: string;
  /** The crate it listens with. */
  readonly server: string | undefined;
}

/** Null where there is no Cargo.toml; throws SYNTAX. */
export async function crateOf(folder: SourceFolder): Promise<Crate | null> {
  const cargo = await folder.table('Cargo.toml');
  if (cargo === null) return null;
  const { name } = tableOf(cargo.package);
  const dependencies = tableOf(cargo.dependencies);
  const server = COMPONENTS.some((each) => each in dependencies)
    ? undefined
    : SERVERS.find((each) => each in dependencies);
  return { name: typeof name === 'string' ? `package ${name}` : 'a workspace', server };
}
