/** What a builder is: it tells from a folder's files whether it can build it, and how. */
import type { BuilderName, BuildSettings } from '../../runtime/workload/build-settings.ts';
import type { SourceFolder } from './source-folder.ts';

export interface Builder {
  /** For `--builder`. */
  readonly name: BuilderName;
  readonly makes: 'component' | 'image';
  /** Which settings mean something to it; none when it is left out. */
  readonly takes?: readonly Exclude<keyof BuildSettings, 'builder'>[];
  /** What it goes by, for the error when nothing was found. */
  readonly looksFor: string;
  /** Null when the folder is nothing for it. Runs nothing and changes nothing. */
  detect(folder: SourceFolder): Promise<Detected | null>;
}

export interface Detected {
  /** What was found, as a sentence without a full stop. */
  readonly why: string;
  /** The one file that is built, from the folder; left out where it is the whole folder. */
  readonly file?: string;
  /** Any other builder that finds something wins over it. */
  readonly weak?: boolean;
  readonly make: (work: Work) => Promise<Product>;
}

/** What a build is given. */
export interface Work {
  /** Of the workload. */
  readonly name: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** In place of the image that the builder begins from. */
  readonly base: string | undefined;
  /** Steps of an image's build may use the network of the node. */
  readonly network: boolean;
  /** An empty folder, gone after the build. */
  readonly scratch: string;
  readonly step: (text: string) => void;
  /** What a tool wrote before it failed. */
  readonly say: (text: string) => void;
}

export type Product =
  /** A file to bundle. */
  | { readonly kind: 'javascript'; readonly file: string }
  /** One JavaScript module that imports nothing. */
  | { readonly kind: 'module'; readonly text: string }
  | { readonly kind: 'component'; readonly file: string }
  /** A Dockerfile of the user's own. */
  | { readonly kind: 'dockerfile'; readonly file: string }
  /** A generated Dockerfile, and the folder that it copies from. */
  | { readonly kind: 'image'; readonly dockerfile: string; readonly context: string };

/** Not root; no system has a user of this number, `nonroot` by custom. */
export const NOBODY = '65532:65532';

/** An image of a program `app` of the folder that needs nothing beside it. */
export function oneProgram(context: string): Product {
  return {
    kind: 'image',
    dockerfile: `FROM scratch\nCOPY --chown=0:0 app /app\nUSER ${NOBODY}\nENTRYPOINT ["/app"]\n`,
    context,
  };
}
