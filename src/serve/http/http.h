// HTTP/1.1 for the server: requests in, whole or streamed answers out, on one I/O thread.
// What lies beneath is the affair of http_server.cpp and http_reader.cpp alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

struct HttpHeader {
  std::string name, value;
};

struct HttpRequest {
  std::string method, target;  // as sent
  std::string path, query;     // path percent-decoded: no NUL and no ".." segment; query as sent
  std::vector<HttpHeader> headers;
  std::string body;
  std::string client;  // address:port

  /// The value of the first header of this name, in any case; empty: none.
  std::string_view header(std::string_view name) const;
};

/// Date, Content-Length, Transfer-Encoding and Connection are the server's to write; an empty
/// content_type writes no Content-Type.
struct HttpResponse {
  int status = 200;
  std::vector<HttpHeader> headers = {};
  std::string content_type = "application/json", body = {};
};

/// One request's answer: `respond` once, or `begin`, any number of `write` and `finish`. Every
/// method may be called from any thread; on the I/O thread they act at once, elsewhere they are
/// posted. Once the client is gone they do nothing. An exchange that is dropped unanswered answers
/// 500, one that is dropped in the midst of a stream is cut off.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  /// A whole answer. To a HEAD request its headers go out, its body does not.
  virtual void respond(HttpResponse response) = 0;

  /// Status and headers of a streamed answer, which go out at once; its body is left aside.
  virtual void begin(HttpResponse head) = 0;

  /// Bytes of a streamed answer. Where more than HttpLimits::unsent_bytes of earlier ones still
  /// wait for the client, the client is cut off instead.
  virtual void write(std::string bytes) = 0;

  /// Ends a streamed answer whole. Without it the client sees that it was cut off.
  virtual void finish() = 0;

  /// `told` is called once, on the I/O thread, if the client hangs up (a half-closed socket too),
  /// stops reading or is cut off before the answer's end; soon if it is gone already. Never from
  /// within a call of the exchange.
  virtual void on_gone(std::function<void()> told) = 0;
};

/// Called on the I/O thread for each request; must not block. An exception answers 500.
using HttpHandler = std::function<void(HttpRequest, std::shared_ptr<HttpExchange>)>;

/// What a client may ask of the server. Beyond a limit it gets the status named, or is cut off.
struct HttpLimits {
  int64_t body_bytes = 16 << 20;         // 413
  int64_t header_bytes = 32 << 10;       // 431: request line and fields
  int64_t header_fields = 100;           // 431
  int64_t target_bytes = 8 << 10;        // 414
  double header_seconds = 10;            // 408: from the first byte, or from connecting
  int64_t body_bytes_per_second = 1024;  // 408: beyond the first header_seconds of the body
  double idle_seconds = 75;              // closed: between two requests of a connection
  int64_t connections = 2048;            // more of them wait to be accepted
  int64_t unsent_bytes = 1 << 20;        // cut off: what a stream may have waiting
  double unread_seconds = 30;            // cut off: nothing taken of what waits
};

/// What the HTTP layer itself refuses: status, code as in the API's errors, one line.
using HttpErrorAnswer =
    std::function<HttpResponse(int status, std::string_view code, std::string_view message)>;

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: a free one
  HttpLimits limits;
  HttpErrorAnswer error_answer;  // none: the message as plain text
};

class HttpLoop;

/// Persistent connections with pipelined requests answered in order, chunked bodies both ways,
/// Expect: 100-continue; HTTP/1.0 closes after the answer; upgrades are ignored. What could be read
/// in two ways (two lengths, a length beside chunks, a malformed chunk) is refused with 400 and the
/// connection closed.
class HttpServer {
 public:
  /// Listens from here on. Throws Error where the address is in use or none of this machine.
  HttpServer(HttpOptions options, HttpHandler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;

  /// Serves until `stop`; the calling thread is the I/O thread.
  void run();

  /// Runs the function on the I/O thread, after what was posted before. From any thread; cheap.
  void post(std::function<void()> function);

  /// The same, so many seconds later.
  void call_after(double seconds, std::function<void()> function);

  /// Closes the listening socket and idle connections; each other one closes after its answer.
  /// From any thread.
  void stop_accepting();

  /// The same; unfinished answers are cut off (and told so), finished ones get a second to reach
  /// their clients. Then `run` returns. From any thread.
  void stop();

  /// Open connections. From any thread.
  int64_t connections() const;

 private:
  std::shared_ptr<HttpLoop> loop_;
};

}  // namespace hypenet
