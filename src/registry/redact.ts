const MAX_SHOWN = 512;

const bounded = (text: string): string => (text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text);

/** Only printable ASCII: no control character, no bidirectional override reaches a terminal or a log. */
const printable = (text: string): string =>
  text.replace(/[^\x20-\x7e]/gu, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`);

/**
 * A URL as messages may show it: without user information, query and fragment, which is where signatures and passwords
 * are. What is no http URL is escaped, cut at the same places and bounded.
 */
export function safeUrl(url: string | URL): string {
  const parsed = typeof url === 'string' ? URL.parse(url) : url;
  if (parsed !== null && (parsed.protocol === 'https:' || parsed.protocol === 'http:')) {
    return bounded(`${parsed.origin}${parsed.pathname}`);
  }
  // Bounded before the rest, so that a huge text costs nothing; the tail that is lost is never shown.
  const [head = ''] = String(url)
    .slice(0, 8 * MAX_SHOWN)
    .split(/[?#]/, 1);
  return bounded(printable(head.slice(head.lastIndexOf('@') + 1)));
}
