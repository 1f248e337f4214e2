// The model of swarm-simulator.ts on std::priority_queue: the peer that the simulator is held against.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <queue>
#include <vector>

struct Event {
  double timeMs;
  uint64_t order;
  int32_t kind, a, b;
};

struct Later {
  bool operator()(const Event& x, const Event& y) const {
    return x.timeMs > y.timeMs || (x.timeMs == y.timeMs && x.order > y.order);
  }
};

int main(int, char** argv) {
  const uint32_t nodes = strtoul(argv[1], nullptr, 10);
  const uint64_t events = strtoull(argv[2], nullptr, 10);
  uint32_t word = strtoul(argv[3], nullptr, 10);
  auto draw = [&word] {
    word ^= word << 13;
    word ^= word >> 17;
    word ^= word << 5;
    return word;
  };
  std::priority_queue<Event, std::vector<Event>, Later> queue;
  std::vector<int32_t> answered(nodes);
  uint64_t order = 0;
  uint32_t hash = 0;
  double timeMs = 0;
  const clock_t before = clock();
  for (uint32_t node = 0; node < nodes; node++) {
    const double at = (draw() % 1000000) / 1000.0;
    queue.push({at, order++, 0, int32_t(node), 0});
  }
  for (uint64_t done = 0; done < events; done++) {
    const Event event = queue.top();
    queue.pop();
    timeMs = event.timeMs;
    hash = (hash ^ uint32_t(event.kind * 0x10000 + event.a)) * 0x01000193u + uint32_t(event.b);
    if (event.kind == 0) {
      const int32_t peer = int32_t(draw() % nodes);
      const double ping = timeMs + 5 + (draw() % 100000) / 1000.0;
      queue.push({ping, order++, 1, peer, event.a});
      const double again = timeMs + 950 + (draw() % 100000) / 1000.0;
      queue.push({again, order++, 0, event.a, 0});
    } else if (event.kind == 1) {
      const double ack = timeMs + 5 + (draw() % 100000) / 1000.0;
      queue.push({ack, order++, 2, event.b, event.a});
    } else {
      answered[event.a]++;
    }
  }
  printf("%.6f %.6f %08x\n", double(clock() - before) / CLOCKS_PER_SEC, timeMs / 1000, hash);
}
