// Where the scores come from; `audionet_tf.export --web` puts another file here. See service.js for the interface.

export { connect } from './service.js';
