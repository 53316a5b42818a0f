// Requests from bytes: the same for any cut into pieces, and refused where two could be seen.
#include "serve/http/http_reader.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

using Phase = HttpReader::Phase;

/// The status of the fault that these bytes are, 0 for none.
int fault_of(std::string_view bytes, const HttpLimits& limits = {}) {
  HttpReader reader(limits);
  reader.push(bytes);
  return reader.read() == Phase::kFault ? reader.fault().status : 0;
}

std::string get(std::string_view target, std::string_view fields = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

std::string post(std::string_view fields, std::string_view body) {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n" + std::string(body);
}

TEST(HttpReader, a_request_has_its_parts) {
  HttpReader reader({});
  reader.push(
      "POST /a%20b?c=%20d HTTP/1.1\r\nHost: x\r\nX-Key:  v \r\nContent-Length: 3\r\n\r\nabcGET");
  ASSERT_EQ(reader.read(), Phase::kWhole);
  const HttpRequest request = reader.take();
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/a%20b?c=%20d");
  EXPECT_EQ(request.path, "/a b");
  EXPECT_EQ(request.query, "c=%20d");
  EXPECT_EQ(request.header("x-KEY"), "v");
  EXPECT_EQ(request.header("x-other"), "");
  EXPECT_EQ(request.body, "abc");
  EXPECT_EQ(reader.waiting_bytes(), 3);
}

TEST(HttpReader, any_cut_into_pieces_gives_the_same_requests) {
  const std::string bytes = get("/1") + post("Content-Length: 5\r\n", "hello") + "\r\n" +
                            post("Transfer-Encoding: chunked\r\n",
                                 "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n") +
                            post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n") + get("/2");
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    HttpReader reader({});
    std::string seen;
    for (size_t i = 0; i < bytes.size(); i += piece) {
      reader.push(std::string_view(bytes).substr(i, piece));
      while (reader.read() == Phase::kWhole) {
        const HttpRequest request = reader.take();
        EXPECT_EQ(request.header("X-Trailer"), "");
        seen += request.method + request.path + request.body + ' ';
      }
    }
    ASSERT_EQ(seen, "GET/1 POST/hello POST/abc0123456789 POST/ GET/2 ") << "pieces of " << piece;
    ASSERT_EQ(reader.read(), Phase::kIdle);
  }
}

TEST(HttpReader, phases_tell_how_far_a_request_is) {
  HttpReader reader({});
  EXPECT_EQ(reader.read(), Phase::kIdle);
  reader.push("G");
  EXPECT_EQ(reader.read(), Phase::kHead);
  reader.push("ET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
  EXPECT_EQ(reader.read(), Phase::kBody);
  EXPECT_EQ(reader.body_bytes(), 2);
  reader.push("cd");
  EXPECT_EQ(reader.read(), Phase::kWhole);
}

TEST(HttpReader, two_readings_of_a_length_are_refused) {
  EXPECT_EQ(fault_of(post("Content-Length: 3\r\n", "abc")), 0);
  for (const char* fields : {
           "Content-Length: 3\r\nContent-Length: 3\r\n",
           "Content-Length: 3\r\nContent-Length: 4\r\n",
           "Content-Length: 3, 3\r\n",
           "Content-Length: +3\r\n",
           "Content-Length: -3\r\n",
           "Content-Length: 0x3\r\n",
           "Content-Length: 99999999999999999999\r\n",
           "Content-Length:\r\n",
           "Content-Length : 3\r\n",
           "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked, identity\r\n",
           "Transfer-Encoding: gzip, chunked\r\n",
           "Transfer-Encoding: xchunked\r\n",
           "Transfer-Encoding: \"chunked\"\r\n",
       }) {
    EXPECT_EQ(fault_of(post(fields, "3\r\nabc\r\n0\r\n\r\n")), 400) << fields;
  }
}

TEST(HttpReader, malformed_chunks_are_refused) {
  const char* fields = "Transfer-Encoding: chunked\r\n";
  EXPECT_EQ(fault_of(post(fields, "3\r\nabc\r\n0\r\n\r\n")), 0);
  for (const char* body : {"x\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n",
                           "0x3\r\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n",
                           "3\r\nabc\r\n0\r\nContent-Length: 1\r\n\r\n",
                           "10000000000000003\r\nabc\r\n0\r\n\r\n", "\r\nabc\r\n0\r\n\r\n"}) {
    EXPECT_EQ(fault_of(post(fields, body)), 400) << body;
  }
  HttpLimits limits;
  limits.header_bytes = 1000;
  EXPECT_EQ(fault_of(post(fields, "3;" + std::string(2000, 'x')), limits), 400);
  EXPECT_EQ(fault_of(post(fields, "0\r\nA: " + std::string(2000, 'x')), limits), 400);
}

TEST(HttpReader, malformed_heads_are_refused) {
  EXPECT_EQ(fault_of("GET / HTTP/1.0\r\n\r\n"), 0);
  for (const char* bytes : {
           "GET / HTTP/1.1\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
           "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
           "GET /\r\nHost: a\r\n\r\n",
           "GET / HTTP/1.1\nHost: a\n\n",
           "G{T / HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: a\r\nX: a\001b\r\n\r\n",
           "\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03\r\n\r\n",
       }) {
    EXPECT_EQ(fault_of(bytes), 400) << bytes;
  }
  EXPECT_EQ(fault_of(std::string("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 29)), 400);
}

TEST(HttpReader, paths_that_leave_their_place_are_refused) {
  for (const char* target :
       {"/%00", "/a%00b", "/..", "/../etc", "/a/../b", "/%2e%2e/b", "/a%2f..%2fb", "/..%5cb", "/a%",
        "/a%2", "/a%zz", "a", "*", "http://b/x"}) {
    EXPECT_EQ(fault_of(get(target)), 400) << target;
  }
  for (const char* target :
       {"/", "/a..b", "/..a", "/?x=../y%", "/%E2%82%AC", "http://a/x", "http://a"}) {
    EXPECT_EQ(fault_of(get(target)), 0) << target;
  }
  EXPECT_EQ(fault_of("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(fault_of("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
}

TEST(HttpReader, limits_have_their_status) {
  const HttpLimits limits;
  const auto field_lines = [](int64_t count) {
    std::string lines;
    for (int64_t i = 0; i < count; ++i) lines += "X: y\r\n";
    return lines;
  };
  EXPECT_EQ(fault_of(get("/", field_lines(limits.header_fields - 1))), 0);
  EXPECT_EQ(fault_of(get("/", field_lines(limits.header_fields))), 431);
  EXPECT_EQ(fault_of(get("/", field_lines(10000))), 431);
  EXPECT_EQ(fault_of(get("/", "X: " + std::string(1 << 20, 'x') + "\r\n")), 431);
  EXPECT_EQ(fault_of("GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(1 << 20, 'x')), 431);
  EXPECT_EQ(fault_of(get("/" + std::string(limits.target_bytes - 1, 'x'))), 0);
  EXPECT_EQ(fault_of(get("/" + std::string(limits.target_bytes, 'x'))), 414);
  EXPECT_EQ(fault_of("GET /" + std::string(1 << 20, 'x')), 414);
  // The request line counts as a part of the header.
  EXPECT_EQ(fault_of(get("/" + std::string(8000, 'x'), "X: " + std::string(28000, 'x') + "\r\n")),
            431);
}

TEST(HttpReader, a_body_over_the_limit_is_refused_before_it_is_there) {
  HttpLimits limits;
  limits.body_bytes = 10;
  EXPECT_EQ(fault_of(post("Content-Length: 10\r\n", "0123456789"), limits), 0);
  EXPECT_EQ(fault_of(post("Content-Length: 11\r\n", ""), limits), 413);
  EXPECT_EQ(fault_of(post("Transfer-Encoding: chunked\r\n", "6\r\n012345\r\n5\r\n"), limits), 413);
}

TEST(HttpReader, codings_and_expectations_that_are_not_met_are_refused) {
  EXPECT_EQ(fault_of(post("Content-Encoding: gzip\r\nContent-Length: 1\r\n", "x")), 415);
  EXPECT_EQ(fault_of(post("Content-Encoding: identity\r\nContent-Length: 1\r\n", "x")), 0);
  EXPECT_EQ(fault_of(post("Expect: 200-ok\r\nContent-Length: 1\r\n", "x")), 417);
}

TEST(HttpReader, an_expectation_is_told_once_and_only_to_who_waits) {
  HttpReader reader({});
  reader.push(post("Expect: 100-Continue\r\nContent-Length: 1\r\n", ""));
  EXPECT_EQ(reader.read(), Phase::kBody);
  EXPECT_TRUE(reader.take_expectation());
  EXPECT_FALSE(reader.take_expectation());
  HttpReader eager({});
  eager.push(post("Expect: 100-continue\r\nContent-Length: 2\r\n", "x"));
  eager.read();
  EXPECT_FALSE(eager.take_expectation());
  HttpReader bodiless({});
  bodiless.push(get("/", "Expect: 100-continue\r\n"));
  EXPECT_EQ(bodiless.read(), Phase::kWhole);
  EXPECT_FALSE(bodiless.take_expectation());
}

TEST(HttpReader, who_keeps_the_connection) {
  const auto keeps = [](std::string_view bytes) {
    HttpReader reader({});
    reader.push(bytes);
    EXPECT_EQ(reader.read(), Phase::kWhole);
    return reader.keeps_alive();
  };
  EXPECT_TRUE(keeps(get("/")));
  EXPECT_TRUE(keeps(get("/", "Connection: Upgrade\r\nUpgrade: h2c\r\n")));
  EXPECT_FALSE(keeps(get("/", "Connection: close\r\n")));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

}  // namespace
}  // namespace hypenet
