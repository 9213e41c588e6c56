const FONT = '12px system-ui, sans-serif';
const SMALL_FONT = '11px system-ui, sans-serif';
const BOLD_FONT = '600 13px system-ui, sans-serif';
const MONO_FONT = '11px ui-monospace, monospace';

/** A canvas for drawing in CSS pixels, with the colours of the style sheet. */
class Ink {
  readonly context: CanvasRenderingContext2D;
  readonly #canvas: HTMLCanvasElement;
  readonly #colours = new Map<string, string>();
  readonly #hatches = new Map<string, CanvasPattern | null>();

  constructor(canvas: HTMLCanvasElement) {
    const context = canvas.getContext('2d');
    if (context === null) throw new Error('this browser cannot draw');
    this.#canvas = canvas;
    this.context = context;
  }

  /** Forgets the colours when the theme changes. */
  forgetColours(): void {
    this.#colours.clear();
    this.#hatches.clear();
  }

  /** Gives the canvas its size in the pixels of the screen. */
  resize(widthPx: number, heightPx: number): void {
    const ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(widthPx * ratio), Math.round(heightPx * ratio)];
    // Setting the size clears the canvas and costs as much as drawing.
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.textBaseline = 'middle';
  }

  box(x: number, y: number, width: number, height: number, radius: number): void {
    this.context.beginPath();
    this.context.roundRect(x, y, width, height, radius);
  }

  fill(colour: string, x: number, y: number, width: number, height: number): void {
    this.context.fillStyle = this.colour(colour);
    this.context.fillRect(x, y, width, height);
  }

  clipped(x: number, y: number, width: number, height: number, paint: () => void): void {
    this.context.save();
    this.context.beginPath();
    this.context.rect(x, y, width, height);
    this.context.clip();
    paint();
    this.context.restore();
  }

  cut(text: string, widthPx: number): string {
    if (this.context.measureText(text).width <= widthPx) return text;
    let length = text.length;
    while (length > 1 && this.context.measureText(`${text.slice(0, length)}…`).width > widthPx) length -= 1;
    return `${text.slice(0, length)}…`;
  }

  colour(name: string): string {
    const known = this.#colours.get(name);
    if (known !== undefined) return known;
    const found = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    this.#colours.set(name, found);
    return found;
  }

  /** Draws stripes, for readers who cannot tell the colours apart. */
  hatch(colour: string, alpha: number): CanvasPattern | null {
    const key = `${colour} ${alpha}`;
    const known = this.#hatches.get(key);
    if (known !== undefined) return known;
    const tile = document.createElement('canvas');
    tile.width = 8;
    tile.height = 8;
    const context = tile.getContext('2d');
    if (context === null) return null;
    context.globalAlpha = alpha;
    context.strokeStyle = this.colour(colour);
    context.lineWidth = 2;
    context.beginPath();
    for (const offset of [-8, 0, 8]) {
      context.moveTo(offset - 2, 10);
      context.lineTo(offset + 10, -2);
    }
    context.stroke();
    const pattern = this.context.createPattern(tile, 'repeat');
    this.#hatches.set(key, pattern);
    return pattern;
  }
}
