import { mount } from 'svelte';
import App from './App.svelte';
import './styles/base.css';
import { session } from './api/session.svelte';
import { ready } from './i18n/index.svelte';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no #app');
void ready().then(() => {
  mount(App, { target });
  void session.start();
});
