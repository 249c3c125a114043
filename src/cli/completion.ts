/** Completion scripts: static, because a process for every press of a key would be felt. */

export interface CompletionCommand {
  readonly name: string;
  readonly summary: string;
  /** What may come first after its name: `list`, `show`. */
  readonly words: readonly string[];
  readonly flags: readonly { readonly flag: string; readonly description: string }[];
}

export function completionScript(shell: 'bash' | 'zsh' | 'fish', commands: readonly CompletionCommand[]): string {
  switch (shell) {
    case 'bash':
      return bash(commands);
    case 'zsh':
      return zsh(commands);
    case 'fish':
      return fish(commands);
  }
}

const flagsOf = ({ flags }: CompletionCommand): string => flags.map(({ flag }) => flag).join(' ');

const bash = (commands: readonly CompletionCommand[]): string => `# bash completion for gantry
_gantry() {
  local current=\${COMP_WORDS[COMP_CWORD]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} help" -- "$current"))
    return
  fi
  local flags= words=
  case \${COMP_WORDS[1]} in
${commands.map((each) => `    ${each.name}) flags="${flagsOf(each)}" words="${each.words.join(' ')}" ;;`).join('\n')}
  esac
  [ "$COMP_CWORD" -eq 2 ] || words=
  case $current in
    -*) COMPREPLY=($(compgen -W "$flags --help" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current")); [ -n "$words" ] || COMPREPLY=($(compgen -f -- "$current")) ;;
  esac
}
complete -F _gantry gantry
`;

const zshText = (text: string): string =>
  text.replaceAll("'", "'\\''").replaceAll('[', '(').replaceAll(']', ')').replaceAll(':', '\\:');

const zsh = (commands: readonly CompletionCommand[]): string => `#compdef gantry
_gantry() {
  local -a commands
  commands=(
${commands.map(({ name, summary }) => `    '${name}:${zshText(summary)}'`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe 'command' commands
    return
  fi
  case $words[2] in
${commands
  .map(
    ({ name, flags, words }) =>
      `    ${name}) _arguments ${flags.map((each) => `'${each.flag}[${zshText(each.description)}]'`).join(' ')} ${words.length === 0 ? '' : `'2:what:(${words.join(' ')})' `}'*:file:_files' ;;`,
  )
  .join('\n')}
  esac
}
_gantry "$@"
`;

const fishText = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

const fish = (commands: readonly CompletionCommand[]): string =>
  [
    '# fish completion for gantry',
    ...commands.map(
      ({ name, summary }) => `complete -c gantry -n __fish_use_subcommand -a ${name} -d ${fishText(summary)}`,
    ),
    ...commands.flatMap(({ name, words }) =>
      words.map((word) => `complete -c gantry -n '__fish_seen_subcommand_from ${name}' -a ${word}`),
    ),
    ...commands.flatMap(({ name, flags }) =>
      flags.map(({ flag, description }) => {
        const form = flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`;
        return `complete -c gantry -n '__fish_seen_subcommand_from ${name}' ${form} -d ${fishText(description)}`;
      }),
    ),
    '',
  ].join('\n');
