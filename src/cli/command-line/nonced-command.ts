import { Command, type Help } from 'commander';

/** A command line that can be typed, and what it is good for where the line itself does not say it. */
export type Example = readonly [line: string, remark?: string];

/**
 * A command that keeps its examples and notes as data, so that the help, the man page and the completion scripts are
 * made of the same. Its subcommands are of this class too.
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
    // That a flag is off unless it is given needs no words.
    help.optionDescription = (option) => describe(option).replace(' (default: false)', '');
    return help;
  }

  addExamples(...examples: readonly Example[]): this {
    this.examples.push(...examples);
    return this;
  }

  /** What is to be said of a command below its options and examples: whole lines, no longer than a terminal is wide. */
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
