// Sockets that are told edges: each is written and read until it has no more.
#include "serve/load/client.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr double kLookSeconds = 0.2;  // between two looks for requests that are too late

std::string system_error_text(int code) { return std::generic_category().message(code); }

/// The bytes of the host's first address.
std::string resolve(const ServerAddress& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address.port);
  const int code = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  HYPENET_CHECK(code == 0, address.host, ": ", gai_strerror(code));
  std::string bytes(reinterpret_cast<const char*>(found->ai_addr), found->ai_addrlen);
  freeaddrinfo(found);
  return bytes;
}

}  // namespace

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ServerAddress ServerAddress::parse(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  ServerAddress address;
  HYPENET_CHECK(url.starts_with(kScheme), "URL: expected http://HOST:PORT, found \"", url, "\"");
  std::string_view rest = url.substr(kScheme.size());
  const size_t slash = std::min(rest.find('/'), rest.size());
  address.prefix = rest.substr(slash);
  while (address.prefix.ends_with('/')) address.prefix.pop_back();
  rest = rest.substr(0, slash);
  address.authority = rest;
  const size_t bracket = rest.starts_with('[') ? rest.find(']') : 0;
  const size_t colon = bracket == rest.npos ? rest.npos : rest.find(':', bracket);
  if (colon != rest.npos) {
    const std::string_view port = rest.substr(colon + 1);
    const auto end = port.data() + port.size();
    const auto parsed = std::from_chars(port.data(), end, address.port);
    HYPENET_CHECK(
        parsed.ec == std::errc() && parsed.ptr == end && address.port > 0 && address.port < 65536,
        "URL: expected a port of 1 to 65535, found \"", port, "\"");
    rest = rest.substr(0, colon);
  }
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  HYPENET_CHECK(!rest.empty(), "URL: expected http://HOST:PORT, found \"", url, "\"");
  address.host = rest;
  return address;
}

LoadClient::LoadClient(const ServerAddress& address, std::function<void(const AnswerPart&)> told)
    : address_(address),
      told_(std::move(told)),
      socket_address_(resolve(address)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      input_(64 << 10, '\0') {
  HYPENET_CHECK(epoll_ >= 0, "epoll: ", system_error_text(errno));
}

LoadClient::~LoadClient() {
  for (Connection& connection : connections_) close(connection);
  ::close(epoll_);
}

void LoadClient::open(Connection& connection, size_t index) {
  const auto* address = reinterpret_cast<const sockaddr*>(socket_address_.data());
  connection.socket =
      socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  HYPENET_CHECK(connection.socket >= 0, "a connection to the server: ", system_error_text(errno));
  connection.is_kept = connection.has_ended = false;
  constexpr int kOn = 1;
  setsockopt(connection.socket, IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof(kOn));
  epoll_event wanted{};
  wanted.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  wanted.data.u64 = index;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.socket, &wanted);
  // What fails here is told when it is first written to.
  connect(connection.socket, address, static_cast<socklen_t>(socket_address_.size()));
}

/// The index of a connection without a request: one that is kept, or a fresh one.
size_t LoadClient::connection() {
  if (!idle_.empty()) {
    const size_t index = idle_.back();
    idle_.pop_back();
    return index;
  }
  size_t index = connections_.size();
  if (closed_.empty()) {
    connections_.emplace_back();
  } else {
    index = closed_.back();
    closed_.pop_back();
  }
  open(connections_[index], index);
  return index;
}

void LoadClient::send(int64_t number, std::string_view head, std::string_view fields,
                      std::string_view body, double timeout) {
  const size_t space = std::min(head.find(' '), head.size() - 1);
  std::string text = concat(head.substr(0, space + 1), address_.prefix, head.substr(space + 1),
                            " HTTP/1.1\r\nHost: ", address_.authority, "\r\n", fields);
  if (!body.empty()) {
    text += concat("Content-Type: application/json\r\nContent-Length: ", body.size(), "\r\n");
  }
  text += "\r\n";
  text += body;
  ++under_way_;
  begin(connection(), number, std::move(text), monotonic_seconds() + timeout);
}

void LoadClient::begin(size_t index, int64_t number, std::string text, double deadline) {
  Connection& connection = connections_[index];
  connection.text = std::move(text);
  connection.sent = 0;
  connection.request = number;
  connection.reader = {};
  connection.broken = 0;
  connection.deadline = deadline;
  write(index);
}

/// A server may close a kept connection just when its next request comes: over a fresh one it goes
/// once more (RFC 9110, 9.2.2, and RFC 9112, 9.3.1).
void LoadClient::begin_again(size_t index) {
  Connection& connection = connections_[index];
  close(connection);
  open(connection, index);
  begin(index, connection.request, std::move(connection.text), connection.deadline);
}

void LoadClient::write(size_t index) {
  Connection& connection = connections_[index];
  while (connection.sent < connection.text.size()) {
    const std::string_view rest = std::string_view(connection.text).substr(connection.sent);
    const ssize_t sent = ::send(connection.socket, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      // The first reason is the true one; reading tells it.
      if (errno != EAGAIN && errno != EINTR && connection.broken == 0) connection.broken = errno;
      return;
    }
    connection.sent += static_cast<size_t>(sent);
  }
}

/// Reads until nothing is left: fewer bytes than asked for say so, but for an end behind them.
void LoadClient::read(size_t index) {
  Connection& connection = connections_[index];
  std::string body;
  for (bool has_more = true; has_more && connection.socket >= 0;) {
    const ssize_t count = recv(connection.socket, input_.data(), input_.size(), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (connection.request < 0) {  // a kept connection that the server closed
      std::erase(idle_, index);
      closed_.push_back(index);
      return close(connection);
    }
    if (count <= 0 && connection.is_kept && !connection.reader.has_begun()) {
      return begin_again(index);
    }
    const int code = count < 0 ? errno : count == 0 ? connection.broken : 0;
    std::string error = code != 0 ? system_error_text(code) : "";
    try {
      if (count > 0) {
        connection.reader.push({input_.data(), static_cast<size_t>(count)}, body);
      } else if (code == 0) {
        connection.reader.end();
      }
    } catch (const Error& fault) {
      error = fault.what();
    }
    if (!error.empty() || connection.reader.is_whole()) return end(index, body, error);
    has_more = connection.has_ended || count == std::ssize(input_);
  }
  if (!body.empty()) told_({connection.request, connection.reader.status(), body, false, ""});
}

void LoadClient::end(size_t index, std::string_view body, const std::string& error) {
  Connection& connection = connections_[index];
  const int64_t request = std::exchange(connection.request, -1);
  const int status = connection.reader.status();
  connection.is_kept = error.empty() && connection.reader.keeps_alive() &&
                       connection.sent == connection.text.size() && !connection.has_ended;
  if (connection.is_kept) {
    idle_.push_back(index);
  } else {
    close(connection);
    closed_.push_back(index);
  }
  --under_way_;
  told_({request, status, body, true, error});
}

void LoadClient::poll(double seconds) {
  std::array<epoll_event, 256> events{};
  const int wait = static_cast<int>(std::clamp(seconds, 0.0, kLookSeconds) * 1e3 + 0.999);
  const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait);
  for (int i = 0; i < count; ++i) {
    const size_t index = events[static_cast<size_t>(i)].data.u64;
    const uint32_t flags = events[static_cast<size_t>(i)].events;
    if (connections_[index].socket < 0) continue;
    if ((flags & EPOLLOUT) != 0) write(index);
    if ((flags & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) connections_[index].has_ended = true;
    if ((flags & EPOLLIN) != 0 || connections_[index].has_ended) read(index);
  }
  end_late();
}

void LoadClient::end_late() {
  const double now = monotonic_seconds();
  if (now < next_look_) return;
  next_look_ = now + kLookSeconds;
  for (size_t index = 0; index < connections_.size(); ++index) {
    const Connection& connection = connections_[index];
    if (connection.request >= 0 && now > connection.deadline) end(index, {}, "no end in time");
  }
}

void LoadClient::close(Connection& connection) {
  if (connection.socket >= 0) ::close(std::exchange(connection.socket, -1));
}

FetchedAnswer ask(const ServerAddress& address, std::string_view head, std::string_view fields,
                  std::string_view body, double timeout) {
  FetchedAnswer answer;
  std::string error;
  LoadClient client(address, [&](const AnswerPart& part) {
    answer.status = part.status;
    answer.body += part.body;
    error = part.error;
  });
  client.send(0, head, fields, body, timeout);
  while (client.under_way() > 0) client.poll(timeout);
  HYPENET_CHECK(error.empty(), address.host, ":", address.port, ": ", error);
  return answer;
}

}  // namespace hypenet
