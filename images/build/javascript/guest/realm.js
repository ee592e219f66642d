import { adopt } from 'skerry:realm';

// What imports of WIT give back and throw shall be of the function's own kinds, see ../bindings.ts.
adopt({ Error, TypeError, Uint8Array });
