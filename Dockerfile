# gantry as a worker, a server, or a command: `docker run gantry pull ...`.
#
# No install scripts run: the one that matters brings Node 24 to machines with an older one, and here it is the base.

FROM node:24-slim AS dependencies
WORKDIR /opt/gantry
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-slim AS build
WORKDIR /opt/gantry
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json tsconfig.types.json ./
COPY scripts/build.ts scripts/
COPY src src
RUN npm run build

FROM node:24-slim
# As process 1 node would reap no children, and credential helpers are children.
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/*
# A volume that is mounted here for the first time takes its owner from the image.
RUN groupadd --gid 10001 gantry \
  && useradd --uid 10001 --gid gantry --create-home --shell /usr/sbin/nologin gantry \
  && install -d -o gantry -g gantry /var/lib/gantry \
  && ln -s /opt/gantry/bin/gantry.js /usr/local/bin/gantry
WORKDIR /opt/gantry
COPY --from=dependencies /opt/gantry/node_modules node_modules
COPY --from=build /opt/gantry/dist dist
COPY bin/gantry.js bin/
COPY package.json LICENSE ./

ENV NODE_ENV=production GANTRY_STORE=/var/lib/gantry
USER 10001:10001
WORKDIR /var/lib/gantry
VOLUME /var/lib/gantry
EXPOSE 9464 9465
# Of a worker with `--metrics-port 9464`; for a server docker-compose.yml says 9465. The image has no curl.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9464/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["tini", "--", "gantry"]
CMD ["--help"]

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="gantry" \
  org.opencontainers.image.description="Moves container images in bulk" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION" \
  org.opencontainers.image.base.name="docker.io/library/node:24-slim"
