// Opens a page as a browser would and stays until it is told to leave: node browse.mjs ADDRESS
import { JSDOM } from 'jsdom'

const page = await JSDOM.fromURL(process.argv[2], {
  runScripts: 'dangerously',
  resources: 'usable',
  pretendToBeVisual: true,
  beforeParse: (window) => Object.assign(window, { TextEncoder, TextDecoder }), // which every browser has, and jsdom not yet
})
process.on('SIGTERM', () => {
  page.window.close()
  process.exit(0)
})
