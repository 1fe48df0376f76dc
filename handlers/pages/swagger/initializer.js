// Shows openapi.json in Swagger UI. URLs are relative, so that a proxy can serve the page under a path prefix.

// Swagger UI's style sheet has rules for this class, and none for prefers-color-scheme.
const dark = matchMedia("(prefers-color-scheme: dark)");
const followColorScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", followColorScheme);
followColorScheme();

// A plugin that hides the error responses of each operation until its button is pressed.
const FoldedErrors = ({ React }) => ({
  wrapComponents: {
    responses: (Responses) => (props) => {
      const [isOpen, setOpen] = React.useState(false);
      const errors = props.responses.keySeq().filter((code) => code >= "400").toArray();
      const text = isOpen ? "Hide errors" : `Show errors: ${errors.join(", ")}`;
      return React.createElement(
        "div",
        { className: isOpen ? "" : "folded-errors" },
        React.createElement(Responses, props),
        errors.length > 0 && React.createElement(
          "button",
          { type: "button", className: "btn errors-button", "aria-expanded": isOpen, onClick: () => setOpen(!isOpen) },
          text,
        ),
      );
    },
  },
});

SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.getElementById("page"),
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  // No requests to Swagger's public validator.
  validatorUrl: null,
  plugins: [FoldedErrors],
});
