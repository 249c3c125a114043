/** Go's templates, as far as mirror files have them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Template, TemplateError } from '../../../src/mirror/file/template.ts';

const PARTS = {
  env: { USER: 'me', EMPTY: '' },
  readFile: (path: string): string => {
    if (path === '/run/token') return 'secret\nlines\r\n';
    throw new Error('it is not there');
  },
  now: () => new Date(2026, 0, 5, 6, 7, 8),
};
const DATA = { Ref: { Tag: 'v1', Repository: 'team/app' } };

const expand = (text: string): string => new Template(text, PARTS).expand(DATA);

test('templates give what Go gives', () => {
  for (const [text, expected] of [
    ['plain } text', 'plain } text'],
    ['{{ env "USER" }}', 'me'],
    ['{{env `USER`}}', 'me'],
    ['a {{- env "USER" -}} b', 'amEb'.replace('E', 'e')],
    ['a {{env "NONE"}} b', 'a  b'],
    ['{{ default "a" (env "EMPTY") }}', 'a'],
    ['{{ env "USER" | default "a" }}', 'me'],
    ['{{ "x}}y" }}', 'x}}y'],
    ['{{/* nothing */}}x', 'x'],
    ['{{ file "/run/token" }}', 'secret\nlines'],
    ['{{ .Ref.Repository }}:{{ .Ref.Tag }}', 'team/app:v1'],
    ['{{ $r := .Ref }}{{ $r.Tag }}-{{ $.Ref.Tag }}', 'v1-v1'],
    ['{{ printf "%s-%05d-%3d%%|%v|%q" .Ref.Tag 42 7 true "a" }}', 'v1-00042-  7%|true|"a"'],
    ['{{ $t := time.Now }}{{ printf "%d%02d%02d" $t.Year $t.Month $t.Day }}', '20260105'],
    ['{{ (time.Now).Month }} {{ time.Now.Hour }}', 'January 6'],
    ['{{ "a\\"b\\n" }}', 'a"b\n'],
    ['{{ 3 }}{{ true }}', '3true'],
  ] as const) {
    assert.equal(expand(text), expected, text);
  }
});

test('what is not known is named, with what there is', () => {
  for (const [text, why] of [
    ['{{ lower "A" }}', 'the template has an unknown function "lower"; there are env, file, default, printf, time.Now'],
    ['{{ time.Parse "x" }}', 'unknown function "time.Parse"'],
    ['{{ .Ref.Nope }}', 'unknown .Ref.Nope; there are .Tag, .Repository'],
    ['{{ .Ref.Tag.Deep }}', 'unknown .Ref.Tag.Deep; there is nothing below it'],
    ['{{ time.Now.Year 1 }}', '"time.Now.Year" in the template takes 0 arguments, not 1'],
    ['{{ time.Now.Format "2006" }}', 'unknown time.Now.Format; there are .Year, .Month'],
    ['{{ .Ref.constructor }}', 'unknown .Ref.constructor'],
    ['{{ $x }}', 'unknown variable $x'],
    ['{{ .Ref }}', 'what a template prints has to be a text or a number'],
    ['{{ range .Ref }}', 'has "range", which is not known here'],
    ['{{ env }}', '"env" in the template takes 1 arguments, not '],
    ['{{ env "A" "B" }}', '"env" in the template takes 1 arguments, not '],
    ['{{ .Ref.Tag "x" }}', 'arguments to something that is no function'],
    ['{{ printf "%d" "x" }}', 'printf cannot print a value with %d'],
    ['{{ printf "%s" }}', 'printf has no value for %s'],
    ['{{ printf "x" 1 }}', 'printf has more values'],
    ['{{ env "A" }', '"{{" that is not closed'],
    ['{{ (env "A" }}', '"(" that is not closed'],
    ['{{ }}', 'an empty action'],
    ['{{ env "A" ) }}', 'a ")" too many'],
    ['{{ a @ b }}', 'a character between "{{" and "}}" that is not known here'],
    ['{{ "\\y" }}', 'an escape that is not known'],
    ['{{ file "/nowhere" }}', 'cannot read the file "/nowhere": it is not there'],
  ] as const) {
    assert.throws(
      () => expand(text),
      (err) => err instanceof TemplateError && err.message.includes(why),
      text,
    );
  }
});
