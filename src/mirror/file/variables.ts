/** `${VAR}` in the scalars of a mirror file, as shells and compose write it. */

/** Variables with their values. */
export type Env = Readonly<Record<string, string | undefined>>;

export interface Expanded {
  readonly text: string;
  /** What cannot be used; the text is then as it was. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** So that it is not taken for a variable when it is read. */
export const escapeVariables = (text: string): string => text.replaceAll('${', () => '$${');

/** `$${` is a `${` that stays; anything in braces is looked at, so that a slip of the pen is not taken as text. */
const VARIABLE = /\$\$\{|\$\{([^}]*)\}?/g;
/** `:-` and `:?` also hold for a variable that is empty, `-` and `?` only for one that is not set. */
const INNER = /^([A-Za-z_]\w*)(?:(:?[-?])([^]*))?$/;

export function expandVariables(text: string, env: Env): Expanded {
  const problems: string[] = [];
  const warnings: string[] = [];
  const expanded = text.replaceAll(VARIABLE, (whole: string, inner: string | undefined) => {
    if (inner === undefined) return '${';
    const [, name = '', operator = '', rest = ''] = whole.endsWith('}') ? (INNER.exec(inner) ?? []) : [];
    if (name === '') {
      problems.push('what stands after "${" is no variable; write ${NAME}, ${NAME:-default}, or $${ for a plain "${"');
      return whole;
    }
    const value = env[name];
    if (value !== undefined && (value !== '' || !operator.startsWith(':'))) return value;
    if (operator.endsWith('-')) return rest;
    if (operator.endsWith('?')) {
      problems.push(`the variable ${name} is not set${rest === '' ? '' : `: ${rest}`}`);
      return whole;
    }
    warnings.push(`the variable ${name} is not set, and is taken as empty`);
    return '';
  });
  return { text: problems.length === 0 ? expanded : text, problems, warnings };
}
