// Sends back whatever comes in on the Unix socket that is its argument.
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct epoll_event events[256];
  char bytes[65536];
  if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) return 64;
  strcpy(address.sun_path, argv[1]);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 511) != 0) return 74;
  int epoll = epoll_create1(0);
  struct epoll_event interest = {.events = EPOLLIN, .data.fd = listener};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &interest);
  for (;;) {
    int count = epoll_wait(epoll, events, 256, -1);
    for (int index = 0; index < count; index++) {
      int socket = events[index].data.fd;
      if (socket == listener) {
        interest.data.fd = accept(listener, NULL, NULL);
        epoll_ctl(epoll, EPOLL_CTL_ADD, interest.data.fd, &interest);
        continue;
      }
      // Messages are short and readers quick: a write is never cut short here.
      ssize_t length = read(socket, bytes, sizeof bytes);
      if (length <= 0 || write(socket, bytes, length) != length) close(socket);
    }
  }
}
