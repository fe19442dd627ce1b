/* Search runs in a worker, which browsers refuse to start for pages that are opened as files. There it runs in a hidden frame instead:
 * of this origin, with the parts of a worker's scope that search uses. Loaded instead of a package of this name from elsewhere. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super();
      this.onmessage = null;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.started = new Promise((started) => {
        addEventListener("DOMContentLoaded", () => this.#start(script, started));
        if (document.readyState !== "loading") this.#start(script, started);
      });
    }

    #start(script, started) {
      if (this.frame.isConnected) return;
      document.body.append(this.frame);
      const scope = this.frame.contentWindow;
      scope.postMessage = (data) => this.#told(data);
      scope.importScripts = (...files) => files.forEach((file) => this.#load(file));
      this.#load(script).addEventListener("load", () => started(scope));
    }

    #load(file) {
      const element = this.frame.contentDocument.createElement("script");
      element.src = new URL(file, document.baseURI);
      this.frame.contentDocument.body.append(element);
      return element;
    }

    #told(data) {
      const message = new MessageEvent("message", { data });
      this.dispatchEvent(message);
      if (this.onmessage) this.onmessage(message);
    }

    postMessage(data) {
      this.started.then((scope) => {
        const message = new MessageEvent("message", { data });
        scope.dispatchEvent(message);
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
