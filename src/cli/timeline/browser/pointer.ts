/** A stretch of the picture that is being selected. */
interface Marked {
  readonly fromX: number;
  readonly toX: number;
}

/** Draws the time under the pointer above the picture, which need not be drawn again for each move. */
class Pointer {
  x: number | undefined;
  selection: Marked | undefined;
  readonly #ink: Ink;
  readonly #layout: Layout;
  readonly #fromMs: number;

  constructor(ink: Ink, layout: Layout, fromMs: number) {
    this.#ink = ink;
    this.#layout = layout;
    this.#fromMs = fromMs;
  }

  paint(view: View): void {
    const { context } = this.#ink;
    const { widthPx, heightPx, namesPx } = this.#layout;
    this.#ink.resize(widthPx, heightPx);
    context.clearRect(0, 0, widthPx, heightPx);
    if (this.selection !== undefined) {
      const { fromX, toX } = this.selection;
      const x = Math.min(fromX, toX);
      const width = Math.abs(toX - fromX);
      context.globalAlpha = 0.18;
      this.#ink.fill('accent', x, AXIS_PX, width, heightPx - AXIS_PX);
      context.globalAlpha = 1;
      this.#paintText(formatDuration(this.#layout.ms(x + width, view) - this.#layout.ms(x, view)), x + width / 2);
    } else if (this.x !== undefined && this.x >= namesPx) {
      context.globalAlpha = 0.5;
      this.#ink.fill('dim', Math.round(this.x), AXIS_PX, 1, heightPx - AXIS_PX);
      context.globalAlpha = 1;
      this.#paintText(timeText(this.#fromMs + this.#layout.ms(this.x, view)), this.x);
    }
  }

  #paintText(text: string, x: number): void {
    const { context } = this.#ink;
    context.font = SMALL_FONT;
    const width = context.measureText(text).width + 12;
    const left = Math.min(Math.max(this.#layout.namesPx, x - width / 2), this.#layout.widthPx - width);
    context.fillStyle = this.#ink.colour('ink');
    this.#ink.box(left, 3, width, AXIS_PX - 7, 4);
    context.fill();
    context.fillStyle = this.#ink.colour('card');
    context.fillText(text, left + 6, AXIS_PX / 2);
  }
}
