/* The load of the benchmark: follows, publishes, and says what came of it as one JSON line.
 *
 * A message carries its time of sending as "~NANOSECONDS~" in its text. A delivery is counted whenever such a
 * stamp arrives, its latency is the stamp's age, and each follower adds up its stamps: a message lost, doubled or
 * given to the wrong room shows as a wrong sum. All is done in one thread: where messages are published as fast as
 * it goes, this program is as busy as the server, and the latency it reports includes its own.
 *
 * What it does is one of:
 *   (nothing more)   opens the followers, publishes, waits until all has been delivered
 *   --replay N       opens the followers; ends when each has been sent N messages
 *   --behind N       opens the followers, cuts them all, publishes N messages, lets all resume at once with a
 *                    Last-Event-ID; ends when all are live
 *   --hold           opens the followers, prints a line, and keeps them until its standard input is closed
 *
 * Paths and the body are templates: {room} is the room's name, {text} the stamp and the padding. With --vary each
 * publish has a traceparent of its own and each follower a cookie of its own, as behind a proxy or in a browser.
 * With --bearers FILE each request has the next of its lines as its credential; with --tickets FILE followers have
 * the next line in their URL.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, ANSWER = 4096, TEXT = 1 << 17, PER_ADDRESS = 10000, NO_LIMIT = 1 << 30 };
static const uint64_t MS = 1000000, SECOND = 1000000000;

static struct {
  int port, followers, rooms, publishers, messages, padding, batch;
  int replay, behind;
  bool hold, vary, in_url;
  double rate;            /* messages a second; 0: as fast as answers come */
  double seconds;         /* how long to publish */
  double settle, timeout; /* seconds: before publishing; for the whole, beyond `seconds` */
  const char *follow, *publish, *body, *processes;
} option = {.followers = 0, .rooms = 1, .publishers = 1, .messages = NO_LIMIT, .padding = 100, .batch = 200,
            .seconds = 1, .settle = 0.5, .timeout = 10, .follow = "/messages?room={room}", .publish = "/messages",
            .body = "{\"text\":\"{text}\",\"room\":\"{room}\"}", .processes = ""};

struct socket {
  enum { FOLLOWER, PUBLISHER } kind;
  int fd;
  int number;
  bool asked; /* a request is on its way: the follower's only one, or the publisher's current one */
  bool open;  /* a follower whose response's head has come */
  /* a follower's */
  int matched;                  /* how much of the blank line that ends the head has come */
  bool in_stamp;                /* between two "~" */
  uint64_t stamp, sum, events;  /* the stamp being read; the sum of all; how many */
  /* a publisher's */
  uint64_t asked_at;
  size_t answer_size;
  long answer_left; /* bytes of the answer's body still to come; -1: in its head */
  char *answer;
};

struct times { /* a log-linear histogram: 64 steps to each power of two */
  uint32_t counts[64 * 64];
  uint64_t count, longest;
};

static char credentials[64 * 1024 * 1024], **credential; /* the lines of a file */
static int credential_count;
static struct socket *followers, *publishers;
static struct socket **idle; /* publishers with nothing to wait for */
static int idle_count;
static struct times delivered, acknowledged;
static int poller;
static char text_padding[TEXT];

static int opened, open_count, closed;        /* followers: dialled, with a head, hung up on */
static int sent, acked, failed;               /* publishes */
static uint64_t events, bytes, last_event;    /* of all followers */
static uint64_t *room_sum, *room_sent;        /* by room: stamps added up, messages sent */
static char complaint[120];                   /* the first answer that was not as it should be */
static char resume_from[128], witness[256];   /* the newest id follower 0 has seen, and the line it is reading */
static size_t witness_size;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * SECOND + t.tv_nsec;
}

static void die(const char *what) {
  printf("{\"error\":\"%s: %s\"}\n", what, strerror(errno));
  exit(1);
}

static void add_time(struct times *times, uint64_t ns) {
  int octave = 63 - __builtin_clzll(ns | 1);
  times->counts[octave * 64 + (octave > 6 ? (ns >> (octave - 6)) & 63 : ns & 63)]++;
  times->count++;
  if (ns > times->longest) times->longest = ns;
}

static double quantile_ms(const struct times *times, double q) {
  uint64_t wanted = q * times->count, seen = 0;
  for (int i = 0; i < 64 * 64; i++) {
    seen += times->counts[i];
    if (seen > wanted) {
      int octave = i / 64;
      uint64_t step = i % 64;
      return (octave > 6 ? (1ull << octave) + (step << (octave - 6)) : step) / (double)MS;
    }
  }
  return times->longest / (double)MS;
}

/* The time that the server's processes have spent in user mode and in the kernel, threads included. */
static double cpu_seconds(void) {
  double ticks = 0;
  char list[1024];
  snprintf(list, sizeof list, "%s", option.processes);
  for (char *pid = strtok(list, ","); pid; pid = strtok(NULL, ",")) {
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    unsigned long user, kernel;
    if (fgets(line, sizeof line, file) &&
        sscanf(strrchr(line, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) == 2)
      ticks += user + kernel;
    fclose(file);
  }
  return ticks / sysconf(_SC_CLK_TCK);
}

static double own_cpu_seconds(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* A template with its {room} and {text} filled in. Returns the length. */
static size_t fill(char *out, size_t capacity, const char *template, int room, uint64_t stamp) {
  size_t size = 0;
  for (const char *c = template; *c && size < capacity - 1;) {
    if (!strncmp(c, "{room}", 6)) {
      size += snprintf(out + size, capacity - size, "room%d", room);
      c += 6;
    } else if (!strncmp(c, "{text}", 6)) {
      size += snprintf(out + size, capacity - size, "~%llu~%s", (unsigned long long)stamp, text_padding);
      c += 6;
    } else {
      out[size++] = *c++;
    }
  }
  if (size >= capacity) size = capacity - 1;
  out[size] = 0;
  return size;
}

/* Begins a connection. A source address has only 28,000 ports, so each one serves PER_ADDRESS connections. */
static int dial(void) {
  static int dialled;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) die("socket");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
  struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(option.port)};
  from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + dialled++ / PER_ADDRESS);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, (void *)&from, sizeof from)) die("bind");
  if (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS) die("connect");
  return fd;
}

static void watch(struct socket *s, unsigned what, int operation) {
  struct epoll_event event = {.events = what, .data.ptr = s};
  if (epoll_ctl(poller, operation, s->fd, &event)) die("epoll_ctl");
}

static void send_all(int fd, const char *data, size_t size) {
  while (size) {
    ssize_t taken = write(fd, data, size);
    if (taken < 0 && errno != EAGAIN) return; /* the next read says what happened */
    if (taken < 0) poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
    if (taken > 0) data += taken, size -= taken;
  }
}

static void complain(const char *answer) {
  if (complaint[0]) return;
  snprintf(complaint, sizeof complaint, "%.80s", answer);
  for (char *c = complaint; *c; c++)
    if (*c < ' ' || *c == '"' || *c == '\\') *c = ' ';
}

/* ---- followers ---- */

static void open_follower(struct socket *s, int number) {
  *s = (struct socket){.kind = FOLLOWER, .number = number, .fd = dial()};
  watch(s, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static const char *next_credential(int number) {
  return credential_count ? credential[number % credential_count] : "";
}

static void read_credentials(const char *file) {
  FILE *from = fopen(file, "r");
  if (!from) exit(2);
  credentials[fread(credentials, 1, sizeof credentials - 1, from)] = 0;
  fclose(from);
  credential = calloc(sizeof credentials / 32, sizeof *credential);
  for (char *line = strtok(credentials, "\n"); line; line = strtok(NULL, "\n")) credential[credential_count++] = line;
}

static void add_bearer(char *field, size_t size, int number) {
  if (credential_count && !option.in_url)
    snprintf(field, size, "Authorization: Bearer %s\r\n", next_credential(number));
}

static void ask_to_follow(struct socket *s) {
  char path[4096], request[8192], resume[192] = "", cookie[2048] = "";
  fill(path, sizeof path, option.follow, s->number % option.rooms, 0);
  if (resume_from[0]) snprintf(resume, sizeof resume, "Last-Event-ID: %s\r\n", resume_from);
  if (option.vary) snprintf(cookie, sizeof cookie, "Cookie: session=%032x\r\n", s->number);
  add_bearer(cookie, sizeof cookie, s->number);
  if (option.in_url) {
    size_t length = strlen(path);
    snprintf(path + length, sizeof path - length, "&ticket=%s", next_credential(s->number));
  }
  int size = snprintf(request, sizeof request,
                      "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n%s%s\r\n", path, cookie,
                      resume);
  send_all(s->fd, request, size);
  s->asked = true;
  watch(s, EPOLLIN, EPOLL_CTL_MOD);
}

/* Looks for the end of the response's head. Returns how many bytes of `data` belong to it. */
static size_t read_head(struct socket *s, const char *data, size_t size) {
  if (!s->matched && strncmp(data, "HTTP/1.1 200", 12) && size >= 12) complain(data);
  for (size_t i = 0; i < size; i++) {
    s->matched = data[i] == "\r\n\r\n"[s->matched] ? s->matched + 1 : data[i] == '\r';
    if (s->matched == 4) {
      s->open = true;
      open_count++;
      return i + 1;
    }
  }
  return size;
}

static void count_delivery(struct socket *s, uint64_t at) {
  s->events++;
  s->sum += s->stamp;
  events++;
  last_event = at;
  add_time(&delivered, at > s->stamp ? at - s->stamp : 0);
}

static void find_stamps(struct socket *s, const char *data, size_t size) {
  uint64_t at = now();
  const char *c = data, *end = data + size;
  while (c < end) {
    if (!s->in_stamp) {
      c = memchr(c, '~', end - c);
      if (!c) return;
      s->in_stamp = true, s->stamp = 0;
      c++;
      continue;
    }
    while (c < end && *c >= '0' && *c <= '9') s->stamp = s->stamp * 10 + (*c++ - '0');
    if (c == end) return;
    if (*c++ == '~') count_delivery(s, at);
    s->in_stamp = false;
  }
}

/* Where to resume: follower 0 reads its `id:` lines as a browser would. */
static void remember_ids(const char *data, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (data[i] == '\n' || data[i] == '\r') {
      witness[witness_size] = 0;
      if (!strncmp(witness, "id:", 3))
        snprintf(resume_from, sizeof resume_from, "%.120s", witness + 3 + (witness[3] == ' '));
      witness_size = 0;
    } else if (witness_size < sizeof witness - 1) {
      witness[witness_size++] = data[i];
    }
  }
}

static bool cut_is_coming; /* only then is follower 0 listened to for ids */

static void on_follower(struct socket *s, const char *data, size_t size) {
  bytes += size;
  size_t head = s->open ? 0 : read_head(s, data, size);
  if (cut_is_coming && !s->number) remember_ids(data + head, size - head);
  find_stamps(s, data + head, size - head);
}

static void hang_up(struct socket *s) {
  if (s->fd >= 0) close(s->fd);
  s->fd = -1;
}

/* ---- publishers ---- */

static void open_publisher(struct socket *s) {
  char *answer = s->answer ? s->answer : malloc(ANSWER + 1);
  *s = (struct socket){.kind = PUBLISHER, .fd = dial(), .answer = answer};
  watch(s, EPOLLIN, EPOLL_CTL_ADD);
  poll(&(struct pollfd){.fd = s->fd, .events = POLLOUT}, 1, 5000);
  idle[idle_count++] = s;
}

static void publish_one(struct socket *s) {
  static char body[TEXT + 512], request[TEXT + 4096];
  char path[512], trace[2048] = "";
  if (option.vary) snprintf(trace, sizeof trace, "traceparent: 00-%032x-%016x-01\r\n", sent + 1, s->number + 1);
  add_bearer(trace, sizeof trace, sent);
  int room = sent++ % option.rooms;
  uint64_t at = now();
  fill(path, sizeof path, option.publish, room, 0);
  size_t size = fill(body, sizeof body, option.body, room, at);
  int length = snprintf(request, sizeof request,
                        "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        "%sContent-Length: %zu\r\n\r\n%s", path, trace, size, body);
  room_sum[room] += at;
  room_sent[room]++;
  s->asked = true, s->asked_at = at, s->answer_size = 0, s->answer_left = -1;
  send_all(s->fd, request, length);
}

static void finish(struct socket *s) {
  bool good = !strncmp(s->answer, "HTTP/1.1 2", 10);
  if (good) acked++;
  if (!good) failed++, complain(s->answer);
  add_time(&acknowledged, now() - s->asked_at);
  s->asked = false;
  idle[idle_count++] = s;
}

static void on_publisher(struct socket *s, const char *data, size_t size) {
  if (!s->asked) return;
  if (s->answer_left < 0) {
    size_t taken = size < ANSWER - s->answer_size ? size : ANSWER - s->answer_size;
    memcpy(s->answer + s->answer_size, data, taken);
    s->answer_size += taken;
    s->answer[s->answer_size] = 0;
    char *end = strstr(s->answer, "\r\n\r\n"), *length = strcasestr(s->answer, "\r\ncontent-length:");
    if (!end) return;
    size_t head = end + 4 - s->answer, before = s->answer_size - taken;
    s->answer_left = length && length < end ? atol(length + 17) : 0;
    size -= head - before;
  }
  s->answer_left -= size;
  if (s->answer_left <= 0) finish(s);
}

static void lose_publisher(struct socket *s) {
  if (s->asked) {
    failed++;
    complain("a publisher's connection was closed");
    open_publisher(s);
    return;
  }
  for (int i = 0; i < idle_count; i++)
    if (idle[i] == s) idle[i--] = idle[--idle_count];
  open_publisher(s);
}

/* ---- the loop, and what is done with it ---- */

/* Handles what is there, waiting at most so long. */
static void turn(uint64_t wait_ns) {
  static char buffer[BUFFER];
  struct epoll_event ready[512];
  struct timespec wait = {.tv_sec = wait_ns / SECOND, .tv_nsec = wait_ns % SECOND};
  int count = epoll_pwait2(poller, ready, 512, &wait, NULL);
  for (int i = 0; i < count; i++) {
    struct socket *s = ready[i].data.ptr;
    if (s->kind == FOLLOWER && !s->asked && ready[i].events & EPOLLOUT) ask_to_follow(s);
    if (!(ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
    ssize_t got = read(s->fd, buffer, BUFFER);
    if (got > 0) {
      (s->kind == FOLLOWER ? on_follower : on_publisher)(s, buffer, got);
    } else if (got == 0 || errno != EAGAIN) {
      hang_up(s);
      closed++;
      if (s->kind == PUBLISHER) lose_publisher(s);
    }
  }
}

static void rest(double seconds) {
  for (uint64_t end = now() + seconds * SECOND; now() < end;) turn(5 * MS);
}

/* Lets all followers in, `batch` at a time: more at once would overflow the listener's queue, and then it is the
 * kernel's retries that are measured. Returns when the last head has come, or after the time-out. */
static void open_followers(uint64_t deadline) {
  opened = open_count = 0;
  while (open_count < option.followers && now() < deadline) {
    while (opened < option.followers && opened - open_count < option.batch) {
      open_follower(&followers[opened], opened);
      opened++;
    }
    turn(10 * MS);
  }
}

static uint64_t wanted(void) {
  uint64_t total = 0;
  for (int room = 0; room < option.rooms; room++) {
    int in_room = option.followers / option.rooms + (room < option.followers % option.rooms);
    total += room_sent[room] * in_room;
  }
  return total;
}

/* Publishes for `seconds`, at most `messages` messages, and waits for the answers. */
static void publish(double seconds, int messages, double rate, uint64_t deadline) {
  uint64_t began = now(), end = began + seconds * SECOND;
  int first = sent;
  while (now() < deadline) {
    uint64_t at = now(), due = began + (rate ? (sent - first) / rate * SECOND : 0);
    bool more = at < end && sent - first < messages;
    if (more && idle_count && at >= due)
      publish_one(idle[--idle_count]);
    else if (!more && acked + failed == sent)
      return;
    else
      turn(more && idle_count && due - at < 50 * MS ? due - at : 50 * MS);
  }
}

static void await_deliveries(uint64_t deadline) {
  while (events < wanted() && now() < deadline) turn(50 * MS);
}

static void forget_deliveries(void) {
  memset(&delivered, 0, sizeof delivered);
  memset(&acknowledged, 0, sizeof acknowledged);
  memset(room_sum, 0, option.rooms * sizeof *room_sum);
  memset(room_sent, 0, option.rooms * sizeof *room_sent);
  events = bytes = last_event = 0;
  for (int i = 0; i < option.followers; i++) followers[i].sum = followers[i].events = 0;
}

/* Followers whose stamps do not add up to those of their room. */
static int count_wrong(void) {
  int wrong = 0;
  for (int i = 0; i < option.followers; i++) wrong += followers[i].sum != room_sum[i % option.rooms];
  return wrong;
}

static void say(const char *name, double value) {
  static bool begun;
  printf("%s\"%s\":%.12g", begun ? "," : "{", name, value);
  begun = true;
}

static void say_deliveries(uint64_t want) {
  say("deliveries", events);
  say("lost", (double)want - (double)events);
  say("bytes", bytes);
  say("p50_ms", quantile_ms(&delivered, .5));
  say("p99_ms", quantile_ms(&delivered, .99));
  say("max_ms", delivered.longest / (double)MS);
}

static void say_publishes(void) {
  say("sent", sent);
  say("acked", acked);
  say("failed", failed);
  say("ack_p50_ms", quantile_ms(&acknowledged, .5));
  say("ack_p99_ms", quantile_ms(&acknowledged, .99));
}

static void say_costs(double cpu, double own_cpu) {
  say("cpu_s", cpu);
  say("load_cpu_s", own_cpu);
}

static void say_end(void) {
  say("closed", closed);
  printf(",\"complaint\":\"%s\"}\n", complaint);
  fflush(stdout);
}

static void fan_out(double connect_s) {
  forget_deliveries();
  double cpu = cpu_seconds(), own = own_cpu_seconds();
  uint64_t began = now(), deadline = began + (option.seconds + option.timeout) * SECOND;
  publish(option.seconds, option.messages, option.rate, deadline);
  await_deliveries(deadline);
  uint64_t ended = now();
  cpu = cpu_seconds() - cpu, own = own_cpu_seconds() - own;
  double elapsed = ((option.followers && last_event ? last_event : ended) - began) / (double)SECOND;
  say("connect_s", connect_s);
  say("elapsed_s", elapsed);
  say("publishes_per_s", acked / elapsed);
  say("deliveries_per_s", events / elapsed);
  say("wrong", count_wrong());
  say_deliveries(wanted());
  say_publishes();
  say_costs(cpu, own);
  say_end();
}

/* Followers that want a history. Their time begins with the first dial. */
static void replay(void) {
  uint64_t want = (uint64_t)option.replay * option.followers, began = now();
  uint64_t deadline = began + (option.seconds + option.timeout) * SECOND;
  double cpu = cpu_seconds(), own = own_cpu_seconds();
  open_followers(deadline);
  double connect_s = (now() - began) / (double)SECOND;
  while (events < want && now() < deadline) turn(50 * MS);
  double elapsed = ((last_event ? last_event : now()) - began) / (double)SECOND;
  say("connect_s", connect_s);
  say("elapsed_s", elapsed);
  say("deliveries_per_s", events / elapsed);
  say("bytes_per_s", bytes / elapsed);
  say_deliveries(want);
  say_costs(cpu_seconds() - cpu, own_cpu_seconds() - own);
  say_end();
}

/* Everybody is cut while live, misses `behind` messages, and comes back at once. */
static void reconnect(double accept_s, uint64_t deadline) {
  publish(1, 5, 0, deadline); /* so that there is an id to resume from */
  await_deliveries(deadline);
  cut_is_coming = false;
  if (!resume_from[0]) {
    printf("{\"error\":\"the server sent no ids to resume from\"}\n");
    exit(1);
  }
  for (int i = 0; i < option.followers; i++) hang_up(&followers[i]);
  rest(option.settle); /* the server closes their connections now, outside the measured time */
  forget_deliveries();
  publish(5, option.behind, 0, deadline);
  double cpu = cpu_seconds(), own = own_cpu_seconds();
  uint64_t began = now();
  open_followers(deadline);
  double connect_s = (now() - began) / (double)SECOND;
  await_deliveries(deadline);
  double caught_up_s = (now() - began) / (double)SECOND;
  cpu = cpu_seconds() - cpu, own = own_cpu_seconds() - own;
  publish(1, 1, 0, deadline); /* a follower that has got it is live */
  await_deliveries(deadline);
  double live_s = (now() - began) / (double)SECOND;
  say("accept_s", accept_s);
  say("connect_s", connect_s);
  say("caught_up_s", caught_up_s);
  say("live_s", live_s);
  say("wrong", count_wrong());
  say_deliveries(wanted());
  say_publishes();
  say_costs(cpu, own);
  say_end();
}

static void hold(double connect_s) {
  say("connect_s", connect_s);
  say("open", open_count);
  say_end();
  for (char c;;) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &c, 1) <= 0) return;
    turn(100 * MS);
  }
}

static void read_options(int argc, char **argv) {
  static const struct option known[] = {
      {"port", 1, 0, 'p'},     {"followers", 1, 0, 'n'}, {"rooms", 1, 0, 'k'},   {"publishers", 1, 0, 'c'},
      {"messages", 1, 0, 'm'}, {"padding", 1, 0, 'b'},   {"batch", 1, 0, 'B'},   {"replay", 1, 0, 'R'},
      {"behind", 1, 0, 'K'},   {"hold", 0, 0, 'H'},      {"rate", 1, 0, 'r'},    {"seconds", 1, 0, 'd'},
      {"settle", 1, 0, 'w'},   {"timeout", 1, 0, 'T'},   {"follow", 1, 0, 's'},  {"publish", 1, 0, 'P'},
      {"body", 1, 0, 't'},     {"processes", 1, 0, 'x'}, {"vary", 0, 0, 'v'},     {"bearers", 1, 0, 'a'},
      {"tickets", 1, 0, 'u'},  {0, 0, 0, 0}};
  for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) switch (c) {
      case 'p': option.port = atoi(optarg); break;
      case 'n': option.followers = atoi(optarg); break;
      case 'k': option.rooms = atoi(optarg); break;
      case 'c': option.publishers = atoi(optarg); break;
      case 'm': option.messages = atoi(optarg); break;
      case 'b': option.padding = atoi(optarg); break;
      case 'B': option.batch = atoi(optarg); break;
      case 'R': option.replay = atoi(optarg); break;
      case 'K': option.behind = atoi(optarg); break;
      case 'H': option.hold = true; break;
      case 'r': option.rate = atof(optarg); break;
      case 'd': option.seconds = atof(optarg); break;
      case 'w': option.settle = atof(optarg); break;
      case 'T': option.timeout = atof(optarg); break;
      case 's': option.follow = optarg; break;
      case 'P': option.publish = optarg; break;
      case 't': option.body = optarg; break;
      case 'x': option.processes = optarg; break;
      case 'v': option.vary = true; break;
      case 'a': read_credentials(optarg); break;
      case 'u': read_credentials(optarg), option.in_url = true; break;
      default: exit(2);
    }
  if (option.padding >= TEXT || !option.port) exit(2);
}

static void prepare(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  memset(text_padding, 'x', option.padding);
  followers = calloc(option.followers + 1, sizeof *followers);
  publishers = calloc(option.publishers, sizeof *publishers);
  idle = calloc(option.publishers, sizeof *idle);
  room_sum = calloc(option.rooms, sizeof *room_sum);
  room_sent = calloc(option.rooms, sizeof *room_sent);
  poller = epoll_create1(0);
}

int main(int argc, char **argv) {
  read_options(argc, argv);
  prepare();
  if (option.replay) {
    replay();
    return 0;
  }
  cut_is_coming = option.behind;
  uint64_t began = now();
  open_followers(began + option.timeout * SECOND);
  double connect_s = (now() - began) / (double)SECOND;
  if (option.hold) {
    hold(connect_s);
    return 0;
  }
  if (open_count < option.followers) {
    printf("{\"error\":\"only %d of %d followers came in: %s\"}\n", open_count, option.followers, complaint);
    return 1;
  }
  for (int i = 0; i < option.publishers; i++) open_publisher(&publishers[i]);
  rest(option.settle);
  if (option.behind)
    reconnect(connect_s, now() + option.timeout * SECOND);
  else
    fan_out(connect_s);
  return 0;
}
