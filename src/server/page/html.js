// @ts-check
/** Templates. What is put into them becomes text or an attribute, never markup. */
import htm from 'htm';
import { h } from 'preact';

export const html = htm.bind(h);
