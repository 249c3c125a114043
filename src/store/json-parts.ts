/** Cuts JSON into its parts without changing them: parsing and writing again reorders fields and rounds numbers. */

/** The fields of an object and the text of each value. The text must be valid JSON that holds an object. */
export function fieldTexts(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const part of split(text)) {
    const end = stringEnd(part, 0);
    const name: unknown = JSON.parse(part.slice(0, end));
    fields.set(String(name), part.slice(part.indexOf(':', end) + 1).trim());
  }
  return fields;
}

/** The text of each element. The text must be valid JSON that holds an array. */
export const elementTexts = (text: string): string[] => split(text);

/** What stands between the outermost brackets, cut at its commas. */
function split(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i];
    if (char === '"') {
      i = stringEnd(text, i) - 1;
    } else if (char === '{' || char === '[') {
      depth += 1;
      if (depth === 1) from = i + 1;
    } else if (char === '}' || char === ']' || (char === ',' && depth === 1)) {
      if (char !== ',') depth -= 1;
      if (depth === 0 || char === ',') {
        parts.push(text.slice(from, i).trim());
        from = i + 1;
      }
    }
  }
  return parts.filter((part) => part !== '');
}

/** Where the string that starts at `from` has ended. */
function stringEnd(text: string, from: number): number {
  for (let end = text.indexOf('"', from + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (text[end - 1 - escapes] === '\\') escapes += 1;
    if (escapes % 2 === 0) return end + 1;
  }
  return text.length;
}
