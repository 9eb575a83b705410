// The last login on this page: its token, the one to refresh it with, and until when (ms) it is good. It is kept
// beside what Swagger UI keeps itself, in this browser alone, until somebody logs out.
const LOGIN = "tasks-login";
const REFRESH = location.pathname.replace(/\/docs\/?$/, "/api/auth/refresh");
// Failures that nearly every request can have: the text above the operations tells them once.
const COMMON = $COMMON;

function keep({token, refresh_token, expires_in}) {
  localStorage.setItem(LOGIN, JSON.stringify({token, refresh_token, until: Date.now() + (expires_in - 60) * 1000}));
  authorize(token);
  return token;
}

function authorize(token) {
  const schema = {type: "http", scheme: "bearer", bearerFormat: "JWT"};
  ui.authActions.authorizeWithPersistOption({bearer: {name: "bearer", schema, value: token}});
}

function forget() {
  localStorage.removeItem(LOGIN);
  ui.authActions.logoutWithPersistOption(["bearer"]);
}

// Refreshes a login that is about to end. A user who has logged out here, or pasted another token, has none.
async function refresh() {
  const login = JSON.parse(localStorage.getItem(LOGIN));
  if (login && login.token !== ui.authSelectors.authorized().getIn(["bearer", "value"])) localStorage.removeItem(LOGIN);
  else if (login && Date.now() > login.until) {
    const body = JSON.stringify({refresh_token: login.refresh_token});
    const answer = await fetch(REFRESH, {method: "POST", headers: {"Content-Type": "application/json"}, body});
    if (answer.ok) return keep((await answer.json()).data);
    if (answer.status === 401) forget();
  }
}

// Another tab has the next pair, or has logged out.
addEventListener("storage", ({key, newValue}) => {
  if (key === LOGIN) newValue ? authorize(JSON.parse(newValue).token) : forget();
});

const ui = SwaggerUIBundle({
  url: location.pathname.replace(/\/docs\/?$/, "/openapi.json"),
  dom_id: "#docs",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  onComplete: () => refresh(),
  async requestInterceptor(request) {
    const token = request.loadSpec ? null : await refresh();
    if (token && request.headers.Authorization) request.headers.Authorization = `Bearer ${token}`;
    return request;
  },
  responseInterceptor(response) {
    if (response.ok && response.url.endsWith("/openapi.json")) {
      response.text = JSON.stringify(withoutCommon(JSON.parse(response.text)));
    } else if (response.ok && /\/api\/auth\/(signup|login|refresh)\/?$/.test(response.url)) {
      keep(JSON.parse(response.text).data);
    } else if (response.status === 204 && /\/api\/auth\/(logout|logout-all|me)\/?$/.test(response.url)) {
      forget();
    }
    return response;
  },
});

function withoutCommon(spec) {
  for (const operation of Object.values(spec.paths).flatMap(Object.values)) {
    for (const status of COMMON) {
      if (operation.tags[0] !== "Service" || status !== 503) delete operation.responses[status];
    }
  }
  return spec;
}
