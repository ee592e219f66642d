// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { basesOf } from '../../../../images/build/dockerfile/bases.ts';

const cases: [string, string, Record<string, string>, string[]][] = [
  ['one', 'FROM alpine:3\nRUN true\n', {}, ['alpine:3']],
  ['nothing to begin from', 'FROM scratch\n', {}, []],
  ['each once, in order', 'FROM b\nFROM a\nFROM b\n', {}, ['b', 'a']],
  [
    'not its own stages, whatever their case',
    'FROM a AS One\nFROM one\nCOPY --from=ONE /x /x\nCOPY --from=0 /x /y\n',
    {},
    ['a'],
  ],
  [
    'images that files are copied or mounted from',
    'FROM a\nCOPY --from=b:1 /x /y\nRUN --mount=type=bind,from=c,target=/c true\n',
    {},
    ['a', 'b:1', 'c'],
  ],
  ['a platform before it', 'FROM --platform=linux/amd64 a\n', {}, ['a']],
  ['arguments with their defaults', 'ARG V=1\nARG I="img"\nFROM ${I}:$V\n', {}, ['img:1']],
  ['arguments as they were given', 'ARG V=1\nFROM a:${V}\n', { V: '2' }, ['a:2']],
  ['defaults within', 'FROM a:${V:-9}\nFROM b${X:+-x}\n', {}, ['a:9', 'b']],
  ['lines that go on, and comments between them', 'FROM \\\n# no\n  a \\\n  AS b\nfrom b\n', {}, ['a']],
  ['another mark of lines that go on', '# escape=`\nFROM `\n  a\n', {}, ['a']],
  ['words of a command that look like it', 'FROM a\nRUN echo FROM b\n', {}, ['a']],
  ['no instruction at all', '\n# nothing\n', {}, []],
];
for (const [what, dockerfile, args, bases] of cases) {
  test(what, () => assert.equal(basesOf(dockerfile, args), bases));
}

test.run();
