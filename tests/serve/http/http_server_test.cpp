// The server against raw sockets: order, framing, hang-ups, threads, stopping.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "base/error.h"
#include "tests/serve/http/served.h"
#include "tests/support/wait_until.h"

namespace hypenet {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;
using testing_support::wait_until;

using Exchange = std::shared_ptr<HttpExchange>;

std::string get(std::string_view path, std::string_view fields = "") {
  return concat("GET ", path, " HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
}

void echo(const HttpRequest& request, const Exchange& exchange) {
  exchange->respond({200, {}, "text/plain", request.path + request.body});
}

/// Keeps every exchange, so that the test answers when it likes.
struct Holding {
  std::mutex mutex;
  std::vector<Exchange> exchanges;
  Told came, gone;

  HttpHandler handler() {
    return [this](const HttpRequest&, const Exchange& exchange) {
      exchange->on_gone(gone);
      const std::lock_guard lock(mutex);
      exchanges.push_back(exchange);
      came();
    };
  }
};

TEST(HttpServer, answers_and_keeps_the_connection) {
  Served served(echo);
  RawClient client(served.port());
  for (int i = 0; i < 1000; ++i) {
    client.send(get(concat("/", i)));
    ASSERT_THAT(client.receive(concat("\r\n\r\n/", i)), StartsWith("HTTP/1.1 200 OK\r\n"));
  }
  EXPECT_EQ(served.server().connections(), 1);
}

TEST(HttpServer, pipelined_requests_are_answered_in_order) {
  // Answered by other threads, the first last.
  std::vector<std::thread> threads;
  Served served([&](const HttpRequest& request, const Exchange& exchange) {
    threads.emplace_back([request, exchange] {
      if (request.path == "/0") std::this_thread::sleep_for(std::chrono::milliseconds(30));
      echo(request, exchange);
    });
  });
  RawClient client(served.port());
  std::string requests;
  for (int i = 0; i < 10; ++i) requests += get(concat("/", i));
  client.send(requests);
  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT(client.receive("\r\n\r\n/"), StartsWith("HTTP/1.1 200"));
    EXPECT_EQ(client.receive(concat(i)), concat(i));
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(HttpServer, more_pipelined_bytes_than_are_read_ahead_come_too) {
  Holding holding;
  Served served([&](const HttpRequest& request, const Exchange& exchange) {
    if (request.path == "/held") return holding.handler()(request, exchange);
    echo(request, exchange);
  });
  RawClient client(served.port());
  std::string requests = get("/held");
  for (int i = 0; i < 10; ++i) {
    requests += concat("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n",
                       std::string(50000, 'x'));
  }
  std::thread sender([&] { client.send(requests); });
  ASSERT_TRUE(holding.came.wait());
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  holding.exchanges[0]->respond({});
  for (int i = 0; i < 11; ++i) EXPECT_EQ(client.status(), 200);
  sender.join();
}

TEST(HttpServer, streams_in_chunks) {
  Served served([](const HttpRequest&, const Exchange& exchange) {
    exchange->begin({200, {}, "text/event-stream", ""});
    exchange->write("data: 1\n\n");
    exchange->write("data: 2\n\n");
    exchange->finish();
  });
  RawClient client(served.port());
  client.send(get("/"));
  EXPECT_THAT(
      client.receive("0\r\n\r\n"),
      EndsWith(
          "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"));
  client.send(get("/"));
  EXPECT_THAT(client.receive("0\r\n\r\n"), StartsWith("HTTP/1.1 200"));
}

TEST(HttpServer, streams_to_http_1_0_until_it_closes) {
  Served served([](const HttpRequest&, const Exchange& exchange) {
    exchange->begin({200, {}, "text/plain", ""});
    exchange->write("abc");
    exchange->finish();
  });
  RawClient client(served.port());
  client.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.receive_all(), EndsWith("Connection: close\r\n\r\nabc"));
  EXPECT_FALSE(client.was_reset());
}

TEST(HttpServer, head_has_the_head_alone) {
  Served served([](const HttpRequest& request, const Exchange& exchange) {
    if (request.path == "/whole") return exchange->respond({200, {}, "text/plain", "abc"});
    exchange->begin({200, {}, "text/plain", ""});
    exchange->write("abc");
    exchange->finish();
  });
  RawClient client(served.port());
  client.send("HEAD /whole HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n" +
              get("/whole", "Connection: close\r\n"));
  EXPECT_THAT(client.receive("\r\n\r\n"), HasSubstr("Content-Length: 3\r\n"));
  EXPECT_THAT(client.receive("\r\n\r\n"), HasSubstr("chunked"));
  EXPECT_THAT(client.receive_all(), EndsWith("Connection: close\r\n\r\nabc"));
}

TEST(HttpServer, takes_chunked_bodies_and_answers_expectations) {
  Served served(echo);
  RawClient client(served.port());
  client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_THAT(client.receive("/abcde"), EndsWith("\r\n\r\n/abcde"));
  client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.receive("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ok");
  EXPECT_THAT(client.receive("/ok"), StartsWith("HTTP/1.1 200"));
  client.send(get("/up", "Connection: Upgrade\r\nUpgrade: h2c\r\n"));
  EXPECT_THAT(client.receive("/up"), StartsWith("HTTP/1.1 200"));
}

TEST(HttpServer, what_is_malformed_is_answered_and_closed_without_a_second_request) {
  std::atomic<int> handled = 0;
  Served served([&](const HttpRequest& request, const Exchange& exchange) {
    ++handled;
    echo(request, exchange);
  });
  const std::string smuggled = get("/smuggled");
  for (const std::string& fields : {
           std::string("Content-Length: 0\r\nContent-Length: 5\r\n"),
           std::string("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
       }) {
    RawClient client(served.port());
    client.send("POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + smuggled);
    EXPECT_THAT(client.receive_all(), StartsWith("HTTP/1.1 400 Bad Request\r\n")) << fields;
    EXPECT_TRUE(client.is_closed());
  }
  RawClient chunks(served.port());
  chunks.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + smuggled);
  EXPECT_THAT(chunks.receive_all(), HasSubstr("bad_request"));
  EXPECT_EQ(handled, 0);
}

TEST(HttpServer, a_refused_upload_still_gets_its_answer) {
  HttpLimits limits;
  limits.body_bytes = 1000;
  Served served(echo, limits);
  RawClient client(served.port());
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" +
              std::string(500000, 'x'));
  EXPECT_THAT(client.receive_all(), HasSubstr("body_too_large"));
}

TEST(HttpServer, a_hang_up_is_told_while_the_answer_is_made) {
  for (const bool is_streamed : {false, true}) {
    for (const bool is_half : {false, true}) {
      Holding holding;
      Served served(holding.handler());
      RawClient client(served.port());
      client.send(get("/"));
      ASSERT_TRUE(holding.came.wait());
      if (is_streamed) {
        holding.exchanges[0]->begin({200, {}, "text/event-stream", ""});
        EXPECT_THAT(client.receive("\r\n\r\n"), StartsWith("HTTP/1.1 200"));
      }
      EXPECT_FALSE(holding.gone.is_told());
      if (is_half) {
        client.half_close();
      } else {
        client.close();
      }
      EXPECT_TRUE(holding.gone.wait());
      EXPECT_TRUE(wait_until([&] { return served.server().connections() == 0; }));
      holding.exchanges[0]->write("too late");
      holding.exchanges[0]->finish();
    }
  }
}

TEST(HttpServer, a_hang_up_behind_many_pipelined_bytes_is_told) {
  HttpLimits limits;
  limits.header_seconds = 0.2;
  Holding holding;
  Served served(holding.handler(), limits);
  RawClient client(served.port());
  client.send(get("/") + std::string(100 << 10, 'x'));
  ASSERT_TRUE(holding.came.wait());
  client.half_close();
  EXPECT_TRUE(holding.gone.wait());
}

TEST(HttpServer, who_asks_late_whether_the_client_is_gone_is_told) {
  Holding holding;
  Served served([&](const HttpRequest&, const Exchange& exchange) {
    holding.exchanges.push_back(exchange);
    holding.came();
  });
  RawClient client(served.port());
  client.send(get("/"));
  ASSERT_TRUE(holding.came.wait());
  client.close();
  ASSERT_TRUE(wait_until([&] { return served.server().connections() == 0; }));
  holding.exchanges[0]->on_gone(holding.gone);
  EXPECT_TRUE(holding.gone.wait());
}

TEST(HttpServer, a_finished_answer_is_no_hang_up) {
  Holding holding;
  Served served(holding.handler());
  RawClient client(served.port());
  client.send(get("/", "Connection: close\r\n"));
  ASSERT_TRUE(holding.came.wait());
  holding.exchanges[0]->respond({});
  EXPECT_EQ(client.status(), 200);
  client.close();
  EXPECT_TRUE(wait_until([&] { return served.server().connections() == 0; }));
  EXPECT_FALSE(holding.gone.is_told());
}

TEST(HttpServer, a_quick_answer_reaches_who_closed_its_side) {
  Served served([](const HttpRequest&, const Exchange& exchange) {
    exchange->respond({200, {}, "text/plain", std::string(3 << 20, 'x')});
  });
  RawClient client(served.port());
  client.send(get("/"));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  client.half_close();
  EXPECT_GT(client.receive_all().size(), size_t{3 << 20});
}

TEST(HttpServer, an_answer_that_never_comes_is_an_error) {
  Served served([](const HttpRequest& request, const Exchange& exchange) {
    if (request.path == "/throws") throw Error("broken");
    if (request.path == "/stream") exchange->begin({});
  });
  RawClient client(served.port());
  client.send(get("/"));
  EXPECT_EQ(client.status(), 500);
  client.send(get("/throws"));
  EXPECT_EQ(client.status(), 500);
  client.send(get("/stream"));
  EXPECT_THAT(client.receive_all(), EndsWith("\r\n\r\n"));
  EXPECT_TRUE(client.was_reset());
}

TEST(HttpServer, calls_out_of_order_do_nothing) {
  Served served([](const HttpRequest&, const Exchange& exchange) {
    exchange->write("before the beginning");
    exchange->finish();
    exchange->respond({200, {}, "text/plain", "once"});
    exchange->respond({500, {}, "text/plain", "twice"});
    exchange->begin({});
    exchange->write("behind the end");
  });
  RawClient client(served.port());
  client.send(get("/", "Connection: close\r\n"));
  EXPECT_THAT(client.receive_all(), EndsWith("\r\n\r\nonce"));
}

TEST(HttpServer, streams_from_many_threads_stay_apart) {
  constexpr int kClients = 32, kEvents = 50;
  std::vector<std::thread> threads;
  Served served([&](const HttpRequest& request, const Exchange& exchange) {
    threads.emplace_back([path = request.path, exchange] {
      exchange->begin({200, {}, "text/event-stream", ""});
      for (int i = 0; i < kEvents; ++i) exchange->write(concat(path, ' ', i, '\n'));
      exchange->finish();
    });
  });
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<RawClient>(served.port()));
    clients.back()->send(get(concat("/", i)));
  }
  for (int i = 0; i < kClients; ++i) {
    const std::string text = clients[i]->receive("\r\n0\r\n\r\n");
    size_t place = 0;
    for (int event = 0; event < kEvents && place != text.npos; ++event) {
      place = text.find(concat("\r\n/", i, ' ', event, '\n'), place);
    }
    EXPECT_NE(place, text.npos) << text;
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(HttpServer, posted_functions_run_in_order_on_its_thread) {
  Served served(echo);
  std::vector<int> order;
  Told done;
  for (int i = 0; i < 100; ++i) served.server().post([&order, i] { order.push_back(i); });
  served.server().call_after(0.02, [&] { done(); });
  EXPECT_TRUE(done.wait());
  ASSERT_EQ(order.size(), 100U);
  EXPECT_TRUE(std::ranges::is_sorted(order));
}

TEST(HttpServer, draining_ends_what_is_idle_and_finishes_what_is_not) {
  Holding holding;
  Served served(holding.handler());
  RawClient idle(served.port()), busy(served.port());
  busy.send(get("/"));
  ASSERT_TRUE(holding.came.wait());
  served.server().stop_accepting();
  EXPECT_TRUE(idle.is_closed());
  EXPECT_FALSE(RawClient(served.port()).is_connected());
  holding.exchanges[0]->respond({200, {}, "text/plain", "done"});
  EXPECT_THAT(busy.receive_all(), EndsWith("\r\n\r\ndone"));
  EXPECT_FALSE(holding.gone.is_told());
}

TEST(HttpServer, stopping_sends_what_is_finished_and_cuts_what_is_not) {
  Holding holding;
  auto served = std::make_unique<Served>(holding.handler());
  RawClient finished(served->port());
  finished.send(get("/"));
  ASSERT_TRUE(holding.came.wait());
  RawClient unfinished(served->port());
  unfinished.send(get("/"));
  ASSERT_TRUE(wait_until([&] {
    const std::lock_guard lock(holding.mutex);
    return holding.exchanges.size() == 2;
  }));
  holding.exchanges[0]->respond({200, {}, "text/plain", std::string(4 << 20, 'x')});
  std::thread reader([&] { EXPECT_GT(finished.receive_all().size(), size_t{4 << 20}); });
  served.reset();
  reader.join();
  EXPECT_TRUE(unfinished.is_closed());
  EXPECT_TRUE(holding.gone.is_told());
  holding.exchanges[1]->respond({});  // the server is gone: nothing happens
}

TEST(HttpServer, a_port_in_use_is_one_line) {
  Served served(echo);
  HttpOptions options;
  options.port = served.port();
  try {
    const HttpServer second(options, echo);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              concat("127.0.0.1:", served.port(), ": cannot listen there: Address already in use"));
  }
  options.host = "203.0.113.7";
  EXPECT_THROW(HttpServer(options, echo), Error);
  options.host = "no such host";
  EXPECT_THROW(HttpServer(options, echo), Error);
}

}  // namespace
}  // namespace hypenet
