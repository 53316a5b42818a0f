// Many HTTP requests at once from one thread, on epoll and kept connections; http:// only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/load/answer_reader.h"

namespace hypenet {

/// http://HOST[:PORT][/PREFIX]
struct ServerAddress {
  std::string authority, host, prefix;  // HOST[:PORT] as given; "" or "/..." without a / at its end
  int port = 80;

  /// Throws Error for what is no such URL.
  static ServerAddress parse(std::string_view url);
};

/// What came for a request: bytes of its body, its end, or both.
struct AnswerPart {
  int64_t request = 0;
  int status = 0;         // 0: no answer began
  std::string_view body;  // new bytes
  bool is_last = false;
  std::string error;  // why it is last before the answer's end; else empty
};

class LoadClient {
 public:
  /// `told` is called from within `poll`, and may call `send`. Throws Error where the host is
  /// unknown.
  LoadClient(const ServerAddress& address, std::function<void(const AnswerPart&)> told);
  ~LoadClient();
  LoadClient(const LoadClient&) = delete;
  LoadClient& operator=(const LoadClient&) = delete;

  /// Sends a request. `number` names it in what is told; `head` is its method and path, `fields`
  /// further lines that end in CRLF. After so many seconds it ends with an error.
  void send(int64_t number, std::string_view head, std::string_view fields, std::string_view body,
            double timeout);

  /// Waits so long for something to come, and tells all that came.
  void poll(double seconds);

  int64_t under_way() const { return under_way_; }

 private:
  struct Connection {
    int socket = -1;
    int64_t request = -1;    // -1: idle
    std::string text;        // of the request
    size_t sent = 0;         // of its bytes
    int broken = 0;          // the system's code for why it cannot be written to
    bool is_kept = false;    // it has had an answer
    bool has_ended = false;  // the server sends no more
    AnswerReader reader;
    double deadline = 0;
  };

  size_t connection();
  void open(Connection& connection, size_t index);
  void begin(size_t index, int64_t number, std::string text, double deadline);
  void begin_again(size_t index);
  void write(size_t index);
  void read(size_t index);
  void end(size_t index, std::string_view body, const std::string& error);
  void end_late();
  void close(Connection& connection);

  ServerAddress address_;
  std::function<void(const AnswerPart&)> told_;
  std::string socket_address_;  // a sockaddr's bytes
  int epoll_ = -1;
  std::deque<Connection> connections_;
  std::vector<size_t> idle_, closed_;
  int64_t under_way_ = 0;
  double next_look_ = 0;
  std::string input_;
};

/// Seconds of a clock that only goes forwards.
double monotonic_seconds();

/// One request's whole answer, for what is asked beside the load.
struct FetchedAnswer {
  int status = 0;
  std::string body;
};

/// Throws Error where there is no answer.
FetchedAnswer ask(const ServerAddress& address, std::string_view head, std::string_view fields,
                  std::string_view body, double timeout);

}  // namespace hypenet
