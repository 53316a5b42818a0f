// The HTTP server on Boost.Asio; this is the one file with it. Connections are states moved by one
// read, always pending (so that a hang-up is seen while an answer is made), at most one write, and
// a sweep that looks for whoever is late.
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/seconds.h"
#include "serve/http/http.h"
#include "serve/http/http_answer.h"
#include "serve/http/http_exchange.h"
#include "serve/http/http_reader.h"

namespace hypenet {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<tcp, Executor>;

/// Pipelined requests that are read while an answer is made; the rest waits in the socket.
constexpr int64_t kReadAhead = 64 << 10;
/// A connection that the server closes is read on for so long: closing a socket with unread bytes
/// resets it, and the client may lose the answer.
constexpr double kLingerSeconds = 2;
/// What the kernel may hold of a connection's bytes unsent, so that a reader that stops is seen.
constexpr int kKernelUnsentBytes = 128 << 10;
/// What finished answers get to reach their clients when the server stops.
constexpr std::chrono::seconds kFlushTime(1);

class Connection;

}  // namespace

class HttpLoop final : public IoThread, public std::enable_shared_from_this<HttpLoop> {
 public:
  HttpLoop(HttpOptions options, HttpHandler handler);

  void run();
  bool is_current() const override { return executor_.running_in_this_thread(); }
  void post(std::function<void()> function) override { asio::post(io_, std::move(function)); }
  void call_after(double seconds, std::function<void()> function);
  void stop_accepting();
  void stop();

  bool is_draining() const { return is_draining_; }
  bool is_stopping() const { return is_stopping_; }
  int port() const { return acceptor_port_; }
  int64_t connections() const { return count_; }
  const HttpLimits& limits() const { return options_.limits; }
  HttpResponse error_answer(const HttpFault& fault) const;
  void handle(HttpRequest request, const std::shared_ptr<HttpExchange>& exchange) const;
  void remove(const std::shared_ptr<Connection>& connection);

 private:
  void listen();
  void accept();
  void sweep();
  void end();
  void on_each(void (Connection::*function)());

  HttpOptions options_;
  HttpHandler handler_;
  asio::io_context io_{1};  // one thread runs it; others may post
  const Executor executor_ = io_.get_executor();
  asio::basic_socket_acceptor<tcp, Executor> acceptor_{executor_};
  asio::steady_timer sweep_timer_{io_};
  std::set<std::shared_ptr<Connection>> open_;
  std::atomic<int64_t> count_ = 0;
  int acceptor_port_ = 0;
  bool is_accepting_ = false, is_draining_ = false, is_stopping_ = false;
};

namespace {

class Connection final : public AnsweredConnection,
                         public std::enable_shared_from_this<Connection> {
 public:
  Connection(HttpLoop& loop, Socket socket);

  void start() { read(); }
  void sweep();  // ends what is late
  void drain();  // closes when nothing is under way, else after the answer
  void stop();   // keeps only a finished answer that is still being sent

  void respond(HttpResponse response) override;
  void begin(HttpResponse head) override;
  void write(std::string_view bytes) override;
  void finish() override;
  void abandon(bool has_begun) override;

 private:
  enum class State { kReading, kAnswering, kSending, kLingering, kClosed };

  void read();
  void on_read(const error_code& error, size_t bytes);
  void on_end(bool is_reset);
  void advance();
  void answer();
  void refuse(const HttpFault& fault);
  void sweep_request();
  void send();
  void on_sent(const error_code& error, size_t bytes);
  void end_answer();
  void next_request();
  void linger();
  void close(bool is_reset);
  bool was_hung_up();
  int64_t unsent_bytes() const { return std::ssize(unsent_) + std::ssize(sending_) - sent_; }

  HttpLoop& loop_;
  Socket socket_;
  HttpReader reader_;
  State state_ = State::kReading;
  HttpReader::Phase phase_ = HttpReader::Phase::kIdle;
  Clock::time_point since_ = Clock::now();  // of the phase, or of lingering
  Clock::time_point taken_ = Clock::now();  // when the client last took bytes, or had taken all
  std::string client_, unsent_, sending_;   // unsent_ follows sending_, of which sent_ are taken
  int64_t sent_ = 0;
  std::weak_ptr<ConnectionExchange> exchange_;
  HttpFraming framing_ = HttpFraming::kLength;
  bool is_reading_ = false, is_half_closed_ = false, is_first_ = true;
  bool keeps_alive_ = true, is_head_request_ = false;
  std::array<char, 16 << 10> input_;
};

Connection::Connection(HttpLoop& loop, Socket socket)
    : loop_(loop), socket_(std::move(socket)), reader_(loop.limits()) {
  error_code error;
  const auto end = socket_.remote_endpoint(error);
  if (!error) client_ = concat(end);
}

void Connection::read() {
  const bool reads_ahead = state_ == State::kAnswering || state_ == State::kSending;
  const bool is_full = reads_ahead && reader_.waiting_bytes() >= kReadAhead;
  if (is_reading_ || is_half_closed_ || is_full || state_ == State::kClosed) return;
  is_reading_ = true;
  socket_.async_read_some(asio::buffer(input_),
                          [self = shared_from_this()](const error_code& error, size_t bytes) {
                            self->is_reading_ = false;
                            self->on_read(error, bytes);
                          });
}

void Connection::on_read(const error_code& error, size_t bytes) {
  if (state_ == State::kClosed) return;
  if (error) return on_end(error != asio::error::eof);
  if (state_ != State::kLingering) reader_.push({input_.data(), bytes});
  if (state_ == State::kReading) advance();
  read();
}

/// A client that ends its side hangs up, as it could not be told apart from one that went; only an
/// answer that is already made still goes out.
void Connection::on_end(bool is_reset) {
  is_half_closed_ = true;
  if (is_reset || state_ != State::kSending) close(is_reset);
}

void Connection::advance() {
  const HttpReader::Phase phase = reader_.read();
  if (phase != phase_) since_ = Clock::now();
  phase_ = phase;
  if (phase == HttpReader::Phase::kFault) return refuse(reader_.fault());
  if (phase == HttpReader::Phase::kWhole) return answer();
  if (reader_.take_expectation()) {
    unsent_ += "HTTP/1.1 100 Continue\r\n\r\n";
    send();
  }
}

void Connection::answer() {
  state_ = State::kAnswering;
  is_first_ = false;
  HttpRequest request = reader_.take();
  phase_ = HttpReader::Phase::kIdle;
  request.client = client_;
  is_head_request_ = request.method == "HEAD";
  keeps_alive_ = reader_.keeps_alive() && !loop_.is_draining();
  const auto exchange =
      std::make_shared<ConnectionExchange>(loop_.weak_from_this(), weak_from_this());
  exchange_ = exchange;
  loop_.handle(std::move(request), exchange);
}

/// Answers what is no request; nothing behind it can be trusted.
void Connection::refuse(const HttpFault& fault) {
  is_head_request_ = false;
  keeps_alive_ = false;
  respond(loop_.error_answer(fault));
}

void Connection::respond(HttpResponse response) {
  unsent_ += answer_head(response, HttpFraming::kLength, keeps_alive_);
  if (!is_head_request_) unsent_ += response.body;
  end_answer();
}

void Connection::begin(HttpResponse head) {
  framing_ = reader_.is_http11() ? HttpFraming::kChunks : HttpFraming::kClose;
  unsent_ += answer_head(head, framing_, keeps_alive_);
  send();
}

void Connection::write(std::string_view bytes) {
  if (is_head_request_) return;
  if (unsent_bytes() > loop_.limits().unsent_bytes) return close(true);
  if (framing_ == HttpFraming::kChunks) {
    append_chunk(unsent_, bytes);
  } else {
    unsent_ += bytes;
  }
  send();
}

void Connection::finish() {
  if (framing_ == HttpFraming::kChunks && !is_head_request_) unsent_ += kLastChunk;
  end_answer();
}

void Connection::abandon(bool has_begun) {
  if (state_ != State::kAnswering || !exchange_.expired()) return;
  if (has_begun) return close(true);
  respond(loop_.error_answer({500, "internal", "the request was dropped without an answer"}));
}

void Connection::end_answer() {
  exchange_.reset();
  state_ = State::kSending;
  if (unsent_bytes() > 0) return send();
  // Not at once: the next request's handler must not run within a call of this one's answer.
  loop_.post([self = shared_from_this()] { self->next_request(); });
}

void Connection::send() {
  if (sent_ < std::ssize(sending_) || unsent_.empty() || state_ == State::kClosed) return;
  taken_ = Clock::now();
  sending_.clear();
  std::swap(sending_, unsent_);
  sent_ = 0;
  on_sent({}, 0);
}

void Connection::on_sent(const error_code& error, size_t bytes) {
  if (state_ == State::kClosed) return;
  if (error) return close(true);
  sent_ += static_cast<int64_t>(bytes);
  if (bytes > 0) taken_ = Clock::now();
  if (sent_ < std::ssize(sending_)) {
    const auto rest = asio::buffer(sending_) + static_cast<size_t>(sent_);
    socket_.async_write_some(
        rest, [self = shared_from_this()](const error_code& e, size_t n) { self->on_sent(e, n); });
  } else if (!unsent_.empty()) {
    send();
  } else if (state_ == State::kSending) {
    next_request();
  }
}

/// Only now: a client that sends requests and reads no answers must not fill the memory.
void Connection::next_request() {
  if (state_ != State::kSending) return;
  if (is_half_closed_ || loop_.is_stopping()) return close(false);
  if (!keeps_alive_ || loop_.is_draining()) return linger();
  state_ = State::kReading;
  since_ = Clock::now();
  advance();
  read();
}

void Connection::linger() {
  state_ = State::kLingering;
  since_ = Clock::now();
  error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  read();
}

void Connection::close(bool is_reset) {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  if (const auto exchange = exchange_.lock()) exchange->lose();
  exchange_.reset();
  error_code ignored;
  // A reset frees what the kernel still holds for a client that does not read, and tells one that
  // reads to a stream's end that this is not it.
  if (is_reset) socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  socket_.close(ignored);
  loop_.remove(shared_from_this());
}

void Connection::sweep() {
  const double elapsed = seconds_since(since_);
  if (unsent_bytes() > 0 && seconds_since(taken_) > loop_.limits().unread_seconds) {
    close(true);
  } else if (state_ == State::kLingering && elapsed > kLingerSeconds) {
    close(false);
  } else if (state_ == State::kAnswering && !is_reading_ && was_hung_up()) {
    close(true);
  } else if (state_ == State::kReading) {
    sweep_request();
  }
}

void Connection::sweep_request() {
  const HttpLimits& limits = loop_.limits();
  const double elapsed = seconds_since(since_);
  if (phase_ == HttpReader::Phase::kIdle) {
    if (elapsed > (is_first_ ? limits.header_seconds : limits.idle_seconds)) close(false);
  } else if (phase_ == HttpReader::Phase::kHead) {
    if (elapsed > limits.header_seconds) {
      refuse({408, "request_timeout",
              concat("the header took longer than ", limits.header_seconds, " s")});
    }
  } else if (elapsed >
             limits.header_seconds + static_cast<double>(reader_.body_bytes()) /
                                         static_cast<double>(limits.body_bytes_per_second)) {
    refuse({408, "request_timeout",
            concat("the body came at less than ", limits.body_bytes_per_second, " bytes/s")});
  }
}

/// While too much waits unread to see the end behind it, the kernel is asked.
bool Connection::was_hung_up() {
  pollfd asked{.fd = socket_.native_handle(), .events = POLLRDHUP, .revents = 0};
  return poll(&asked, 1, 0) > 0;
}

void Connection::drain() {
  keeps_alive_ = false;
  if (state_ == State::kReading && phase_ == HttpReader::Phase::kIdle) close(false);
}

void Connection::stop() {
  if (state_ != State::kSending) close(state_ == State::kAnswering);
}

}  // namespace

HttpLoop::HttpLoop(HttpOptions options, HttpHandler handler)
    : options_(std::move(options)), handler_(std::move(handler)) {
  listen();
}

void HttpLoop::listen() {
  error_code error;
  const auto found = asio::ip::basic_resolver<tcp, Executor>(executor_).resolve(
      options_.host, std::to_string(options_.port),
      tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (!error) {
    const tcp::endpoint end = found.begin()->endpoint();
    acceptor_.open(end.protocol());
    acceptor_.set_option(asio::socket_base::reuse_address(true));
    // Connections have these from the socket that accepts them.
    acceptor_.set_option(tcp::no_delay(true));
    setsockopt(acceptor_.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kKernelUnsentBytes,
               sizeof(kKernelUnsentBytes));
    acceptor_.bind(end, error);
  }
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  HYPENET_CHECK(!error, options_.host, ":", options_.port,
                ": cannot listen there: ", error.message());
  acceptor_port_ = acceptor_.local_endpoint().port();
}

void HttpLoop::run() {
  accept();
  sweep();
  io_.run();
}

void HttpLoop::accept() {
  is_accepting_ = !is_draining_ && count_ < options_.limits.connections;
  if (!is_accepting_) return;
  acceptor_.async_accept([this](const error_code& error, Socket socket) {
    is_accepting_ = false;
    if (error) return;  // the sweep tries again: most likely no descriptor was left
    const auto connection = std::make_shared<Connection>(*this, std::move(socket));
    open_.insert(connection);
    ++count_;
    connection->start();
    accept();
  });
}

void HttpLoop::remove(const std::shared_ptr<Connection>& connection) {
  open_.erase(connection);
  --count_;
  if (!is_accepting_) accept();
  if (is_stopping_ && open_.empty()) end();
}

void HttpLoop::on_each(void (Connection::*function)()) {
  const std::vector<std::shared_ptr<Connection>> connections(open_.begin(), open_.end());
  for (const auto& connection : connections) ((*connection).*function)();
}

/// All time limits are looked at here, a few times within the shortest of them.
void HttpLoop::sweep() {
  on_each(&Connection::sweep);
  if (!is_accepting_) accept();
  const HttpLimits& limits = options_.limits;
  const double shortest =
      std::min({limits.header_seconds, limits.idle_seconds, limits.unread_seconds, 4.0});
  sweep_timer_.expires_after(
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(shortest / 4)));
  sweep_timer_.async_wait([this](const error_code& error) {
    if (!error) sweep();
  });
}

void HttpLoop::call_after(double seconds, std::function<void()> function) {
  post([this, seconds, function = std::move(function)] {
    const auto timer = std::make_shared<asio::steady_timer>(
        io_, std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
    timer->async_wait([timer, function](const error_code& error) {
      if (!error) function();
    });
  });
}

void HttpLoop::stop_accepting() {
  is_draining_ = true;
  error_code ignored;
  acceptor_.close(ignored);
  on_each(&Connection::drain);
}

void HttpLoop::stop() {
  stop_accepting();
  is_stopping_ = true;
  on_each(&Connection::stop);
  if (open_.empty()) end();
  const auto timer = std::make_shared<asio::steady_timer>(io_, kFlushTime);
  timer->async_wait([this, timer](const error_code&) { io_.stop(); });
}

/// Behind what was posted before: who was cut off has been told.
void HttpLoop::end() {
  asio::post(io_, [this] { io_.stop(); });
}

HttpResponse HttpLoop::error_answer(const HttpFault& fault) const {
  if (options_.error_answer) {
    return options_.error_answer(fault.status, fault.code, fault.message);
  }
  return {fault.status, {}, "text/plain", fault.message + "\n"};
}

void HttpLoop::handle(HttpRequest request, const std::shared_ptr<HttpExchange>& exchange) const {
  try {
    handler_(std::move(request), exchange);
  } catch (const std::exception& error) {
    exchange->respond(error_answer({500, "internal", error.what()}));
  }
}

HttpServer::HttpServer(HttpOptions options, HttpHandler handler)
    : loop_(std::make_shared<HttpLoop>(std::move(options), std::move(handler))) {}
HttpServer::~HttpServer() = default;

int HttpServer::port() const { return loop_->port(); }
void HttpServer::run() { loop_->run(); }
void HttpServer::post(std::function<void()> function) { loop_->post(std::move(function)); }
void HttpServer::call_after(double seconds, std::function<void()> function) {
  loop_->call_after(seconds, std::move(function));
}
void HttpServer::stop_accepting() {
  loop_->post([loop = loop_.get()] { loop->stop_accepting(); });
}
void HttpServer::stop() {
  loop_->post([loop = loop_.get()] { loop->stop(); });
}
int64_t HttpServer::connections() const { return loop_->connections(); }

}  // namespace hypenet
