import { Command, type Help } from 'commander';

/** A command line to type, and what it is for if the line itself does not say. */
export type Example = readonly [line: string, remark?: string];

/**
 * A command that keeps its examples and notes as data, so that the help, the manual page and the completions are made
 * of the same. Its subcommands are of this class too.
 */
export class NoncedCommand extends Command {
  readonly examples: Example[] = [];
  notes = '';

  constructor(name?: string) {
    super(name);
    this.addHelpText('after', () => this.#afterHelp());
  }

  override createCommand(name?: string): NoncedCommand {
    return new NoncedCommand(name);
  }

  override createHelp(): Help {
    const help = super.createHelp();
    const describe = help.optionDescription.bind(help);
    // Every flag is off unless it is given; the help need not say so.
    help.optionDescription = (option) => describe(option).replace(' (default: false)', '');
    return help;
  }

  addExamples(...examples: readonly Example[]): this {
    this.examples.push(...examples);
    return this;
  }

  /** Adds what the help says below the options and examples: whole lines that fit a terminal. */
  addNotes(text: string): this {
    this.notes = text;
    return this;
  }

  #afterHelp(): string {
    const width = Math.max(...this.examples.map(([line, remark]) => (remark === undefined ? 0 : line.length)));
    const lines = this.examples.map(([line, remark]) =>
      remark === undefined ? `  ${line}` : `  ${line.padEnd(width)}  ${remark}`,
    );
    const examples = lines.length > 0 ? [`Example${lines.length > 1 ? 's' : ''}:`, ...lines].join('\n') : '';
    const parts = [examples, this.notes].filter((part) => part !== '');
    return parts.length > 0 ? `\n${parts.join('\n\n')}` : '';
  }
}
