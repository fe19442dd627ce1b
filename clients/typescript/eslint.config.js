import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["build/", "dist/", "src/gen/", "eslint.config.js"] },
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname ?? new URL(".", import.meta.url).pathname },
    },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "max-lines": ["error", 300],
      "max-lines-per-function": ["error", { max: 60, skipBlankLines: true }],
      "no-console": "error",
    },
  },
  // node:test waits for what it is given; a test's whole file is one function.
  {
    files: ["tests/**", "examples/**"],
    rules: { "@typescript-eslint/no-floating-promises": "off", "max-lines-per-function": "off", "no-console": "off" },
  },
);
