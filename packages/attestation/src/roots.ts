import type { TrustRoots } from "./types.ts";

/** The silicon vendors' root keys, pinned by the SHA-256 of their SubjectPublicKeyInfo. docs/decisions/0101 gives the sources. */
export const vendorRoots: TrustRoots = {
  simulated: false,
  pins: {
    intel: ["a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e"],
    amd: [
      "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
      "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
      "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
    ],
    nvidia: ["a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4"],
    nvidiaRim: ["dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3"],
    aws: ["f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225"],
    azure: ["5cbc52672ae101263c2976736044a964c1182ce9412c39937183baddcccb8cdf"],
  },
};
