// An HttpServer on a thread of its own, and a client that sends and sees bytes.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "serve/http/http.h"

namespace hypenet {

/// Serves from construction to destruction, on a free port.
class Served {
 public:
  explicit Served(HttpHandler handler, HttpLimits limits = {})
      : server_(options(limits), std::move(handler)), thread_([this] { server_.run(); }) {}
  ~Served() {
    server_.stop();
    thread_.join();
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  HttpServer& server() { return server_; }
  int port() const { return server_.port(); }

 private:
  static HttpOptions options(HttpLimits limits) {
    HttpOptions options;
    options.port = 0;
    options.limits = limits;
    options.error_answer = [](int status, std::string_view code, std::string_view message) {
      return HttpResponse{
          status, {}, "text/plain", std::string(code) + ": " + std::string(message)};
    };
    return options;
  }

  HttpServer server_;
  std::thread thread_;
};

/// A connection to this machine; every wait ends after five seconds.
class RawClient {
 public:
  /// receive_buffer: bytes that the kernel takes for a client that does not read; 0: its default.
  explicit RawClient(int port, int receive_buffer = 0) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) {
      setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_connected_ = connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  ~RawClient() { close(); }

  bool is_connected() const { return is_connected_; }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }

  /// What comes until it contains `end`, which is the last of it; what lies behind is kept. At the
  /// connection's end or after five seconds: what came.
  std::string receive(std::string_view end) {
    while (kept_.find(end) == kept_.npos && receive_some()) {
    }
    const size_t size =
        std::min(kept_.find(end), kept_.size() - std::min(end.size(), kept_.size()));
    std::string taken = kept_.substr(0, size + end.size());
    kept_.erase(0, taken.size());
    return taken;
  }

  /// What comes next, at most 64 KiB.
  std::string receive_some_bytes() {
    receive_some();
    return std::exchange(kept_, {});
  }

  /// All that comes until the server closes.
  std::string receive_all() {
    while (receive_some()) {
    }
    return std::exchange(kept_, {});
  }

  /// The status of the next answer, which has a Content-Length and is taken whole.
  int status() {
    const std::string head = receive("\r\n\r\n");
    if (head.size() < 12) return 0;
    const size_t length = head.find("Content-Length: ");
    if (length != head.npos) {
      const size_t bytes = std::stoul(head.substr(length + 16));
      while (kept_.size() < bytes && receive_some()) {
      }
      kept_.erase(0, bytes);
    }
    return std::stoi(head.substr(9, 3));
  }

  /// Whether the server ended the connection, by an end or a reset; waits for it.
  bool is_closed() {
    while (receive_some()) {
    }
    return is_ended_;
  }

  bool was_reset() const { return was_reset_; }
  void half_close() { shutdown(socket_, SHUT_WR); }
  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }

 private:
  bool receive_some() {
    pollfd asked{socket_, POLLIN, 0};
    if (is_ended_ || poll(&asked, 1, 5000) <= 0) return false;
    std::string bytes(64 << 10, '\0');
    const ssize_t count = recv(socket_, bytes.data(), bytes.size(), 0);
    is_ended_ = count <= 0;
    was_reset_ = count < 0;
    if (count > 0) kept_.append(bytes, 0, static_cast<size_t>(count));
    return count > 0;
  }

  int socket_;
  bool is_connected_ = false, is_ended_ = false, was_reset_ = false;
  std::string kept_;
};

/// A promise that may be kept more than once, and its wait of five seconds.
class Told {
 public:
  void operator()() const {
    if (!state_->was_told.exchange(true)) state_->promise.set_value();
  }
  bool wait() const {
    return state_->future.wait_for(std::chrono::seconds(5)) == std::future_status::ready;
  }
  bool is_told() const { return state_->was_told; }

 private:
  struct State {
    std::promise<void> promise;
    std::shared_future<void> future = promise.get_future().share();
    std::atomic<bool> was_told = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace hypenet
