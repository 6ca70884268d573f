/* The floor of the benchmark: what fanning out SSE over loopback costs when nothing else is done.
 *
 * An epoll loop in one thread. A POST's body is framed once and written with one write(2) to each follower of its
 * room; nothing is parsed, validated, numbered or kept. Rooms are there so that the comparison with servers that
 * have rooms is fair: `room=` in the query names one. With a file, GET /replay writes the file's bytes: the floor
 * of a newcomer's replay, in the very bytes of the server it is compared with. With --sync it writes a page to a
 * file and waits for the disk before it answers a POST: the floor of a durable publish.
 *
 * usage: floor PORT [REPLAY_FILE | --sync FILE]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 1 << 17, ROOMS = 1 << 12, NAME = 64, REQUEST = 1 << 18, PAGE = 4096, SYNCED = 1 << 22 };

struct room {
  char name[NAME];
  int *followers; /* descriptors, in no order */
  int count, capacity;
};

struct connection {
  struct room *room; /* NULL: not a follower */
  int place;         /* its index in room->followers */
  char *request;     /* what has come of a request that is not whole; NULL: nothing */
  size_t have;
  char *rest; /* what the socket did not take; NULL: nothing waits */
  size_t rest_size, rest_at;
  bool rest_is_shared; /* the replay file: not ours to free */
};

static struct connection connections[CONNECTIONS]; /* by descriptor */
static struct room rooms[ROOMS];                   /* open addressing */
static int poller;
static char *replay;
static size_t replay_size;
static int synced = -1; /* the file that is written before an answer; -1: none is */

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char RAW_HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
static const char CREATED[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* The room that the request's target names; "" is a room as well. */
static struct room *find_room(const char *request) {
  char name[NAME] = "";
  const char *line_end = strchr(request, '\r'), *given = strstr(request, "room=");
  if (given && given < line_end) sscanf(given + 5, "%63[^& \r]", name);
  unsigned hash = 5381;
  for (const char *c = name; *c; c++) hash = hash * 33 + (unsigned char)*c;
  for (int tries = 0; tries < ROOMS; tries++) {
    struct room *room = &rooms[(hash + tries) % ROOMS];
    if (!strcmp(room->name, name)) return room;
    if (!room->name[0] && !room->count) {
      strcpy(room->name, name);
      return room;
    }
  }
  fprintf(stderr, "floor: more than %d rooms\n", ROOMS);
  exit(1);
}

static void listen_for(int fd, unsigned what, int operation) {
  struct epoll_event event = {.events = what, .data.fd = fd};
  epoll_ctl(poller, operation, fd, &event);
}

static void follow(int fd, struct room *room) {
  if (room->count == room->capacity) {
    room->capacity = room->capacity ? 2 * room->capacity : 16;
    room->followers = realloc(room->followers, room->capacity * sizeof *room->followers);
  }
  connections[fd].room = room;
  connections[fd].place = room->count;
  room->followers[room->count++] = fd;
}

static void unfollow(int fd) {
  struct room *room = connections[fd].room;
  if (!room) return;
  int last = room->followers[--room->count];
  room->followers[connections[fd].place] = last;
  connections[last].place = connections[fd].place;
}

static void hang_up(int fd) {
  struct connection *c = &connections[fd];
  unfollow(fd);
  free(c->request);
  if (!c->rest_is_shared) free(c->rest);
  memset(c, 0, sizeof *c);
  close(fd);
}

/* Keeps what the socket did not take, so that a slow reader sees whole messages here too. */
static void keep(int fd, const char *bytes, size_t size) {
  struct connection *c = &connections[fd];
  size_t waiting = c->rest_size - c->rest_at;
  char *both = malloc(waiting + size);
  if (waiting) memcpy(both, c->rest + c->rest_at, waiting);
  memcpy(both + waiting, bytes, size);
  if (!c->rest_is_shared) free(c->rest);
  if (!c->rest) listen_for(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
  c->rest = both, c->rest_size = waiting + size, c->rest_at = 0, c->rest_is_shared = false;
}

static void send_to(int fd, const char *bytes, size_t size) {
  ssize_t taken = connections[fd].rest ? 0 : write(fd, bytes, size);
  if (taken == (ssize_t)size) return;
  if (taken < 0 && errno != EAGAIN) return; /* the loop will see it gone */
  keep(fd, bytes + (taken > 0 ? taken : 0), size - (taken > 0 ? taken : 0));
}

static void send_rest(int fd) {
  struct connection *c = &connections[fd];
  while (c->rest_at < c->rest_size) {
    ssize_t taken = write(fd, c->rest + c->rest_at, c->rest_size - c->rest_at);
    if (taken <= 0) return;
    c->rest_at += taken;
  }
  if (!c->rest_is_shared) free(c->rest);
  c->rest = NULL, c->rest_is_shared = false;
  c->rest_size = c->rest_at = 0;
  listen_for(fd, EPOLLIN, EPOLL_CTL_MOD);
}

static void start_replay(int fd) {
  struct connection *c = &connections[fd];
  send_to(fd, RAW_HEAD, sizeof RAW_HEAD - 1);
  c->rest = replay, c->rest_size = replay_size, c->rest_at = 0, c->rest_is_shared = true;
  listen_for(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

/* Round and round over what is there, as SQLite writes its log. */
static void sync_page(void) {
  static char page[PAGE];
  static off_t at;
  if (pwrite(synced, page, PAGE, at) != PAGE || fdatasync(synced)) die("floor: sync");
  at = (at + PAGE) % SYNCED;
}

static void open_synced(const char *path) {
  static char zeros[SYNCED];
  synced = open(path, O_RDWR | O_CREAT, 0600);
  if (synced < 0 || write(synced, zeros, SYNCED) != SYNCED || fsync(synced)) die(path);
}

static void publish(int fd, const char *request, const char *body, size_t size) {
  static char frame[REQUEST + 64], event[REQUEST + 32];
  struct room *room = find_room(request);
  int length = sprintf(event, "id: 1\ndata: %.*s\n\n", (int)size, body);
  int framed = sprintf(frame, "%x\r\n", length);
  memcpy(frame + framed, event, length);
  memcpy(frame + framed + length, "\r\n", 2);
  if (synced >= 0) sync_page();
  for (int i = 0; i < room->count; i++) send_to(room->followers[i], frame, framed + length + 2);
  send_to(fd, CREATED, sizeof CREATED - 1);
}

/* Answers the requests in the buffer, which ends in a NUL. Returns how many bytes they took. */
static size_t answer(int fd, const char *buffer, size_t have) {
  size_t done = 0;
  while (done < have) {
    const char *request = buffer + done, *end = strstr(request, "\r\n\r\n");
    if (!end) break;
    end += 4;
    if (!strncmp(request, "GET /replay", 11)) {
      start_replay(fd);
    } else if (!strncmp(request, "GET ", 4)) {
      send_to(fd, HEAD, sizeof HEAD - 1);
      follow(fd, find_room(request));
    } else {
      const char *header = strcasestr(request, "\r\nContent-Length:");
      size_t size = header && header < end ? strtoul(header + 17, NULL, 10) : 0;
      if (end + size > buffer + have) break;
      publish(fd, request, end, size);
      end += size;
    }
    done = end - buffer;
  }
  return done;
}

static void receive(int fd) {
  static char buffer[REQUEST + 1];
  struct connection *c = &connections[fd];
  if (c->have) memcpy(buffer, c->request, c->have);
  ssize_t got = read(fd, buffer + c->have, REQUEST - c->have);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    hang_up(fd);
    return;
  }
  size_t have = c->have + got;
  buffer[have] = 0;
  size_t done = answer(fd, buffer, have);
  c->have = have - done;
  if (c->have && !c->request) c->request = malloc(REQUEST);
  if (c->have) memcpy(c->request, buffer + done, c->have);
}

static void accept_all(int listener) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
    if (fd >= CONNECTIONS) {
      close(fd);
      continue;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    listen_for(fd, EPOLLIN, EPOLL_CTL_ADD);
  }
}

static int open_listener(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  if (bind(fd, (void *)&address, sizeof address) || listen(fd, 4096)) die("floor: bind");
  return fd;
}

static void read_replay(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) die(path);
  replay_size = ftell(file);
  rewind(file);
  replay = malloc(replay_size);
  if (fread(replay, 1, replay_size, file) != replay_size) die(path);
  fclose(file);
}

static void raise_file_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  raise_file_limit();
  if (argc == 3) read_replay(argv[2]);
  if (argc == 4) open_synced(argv[3]);
  poller = epoll_create1(0);
  int listener = open_listener(atoi(argv[1]));
  listen_for(listener, EPOLLIN, EPOLL_CTL_ADD);
  for (;;) {
    struct epoll_event events[512];
    int ready = epoll_wait(poller, events, 512, -1);
    for (int i = 0; i < ready; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        accept_all(listener);
        continue;
      }
      if (events[i].events & EPOLLOUT) send_rest(fd);
      if (events[i].events & ~EPOLLOUT) receive(fd);
    }
  }
}
